"""Weights files that nobody vouches for: one sentence each, and no code is ever run."""

from __future__ import annotations

import io
import pickle
import zipfile
from urllib.error import HTTPError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spade_core.errors import ModelError
from spade_core.models.weights import (
    best_match,
    check_reachable,
    digest,
    fit_state,
    hub_file,
    load_hub_state,
    published_state,
    read_state,
)


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (self.marker, "w")


def hostile(folder):
    """(name, bytes) of files that must be refused."""
    marker = str(folder / "code-was-run")
    state = nn.Linear(2, 2).state_dict()
    saved = io.BytesIO()
    torch.save(state, saved)
    evil, module, script, numbers = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.ones(2), "evil": Evil(marker)}, evil)
    torch.save(nn.Linear(2, 2), module)
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), script)
    torch.save([1, 2, 3], numbers)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "no weights here")
    return [
        ("empty.pt", b""),
        ("text.pt", b"these are no weights\n"),
        ("random.pt", bytes(range(256)) * 20),
        ("truncated.pt", saved.getvalue()[:200]),
        ("pickle.pt", pickle.dumps(Evil(marker))),
        ("evil.pt", evil.getvalue()),
        ("module.pt", module.getvalue()),
        ("script.pt", script.getvalue()),
        ("list.pt", numbers.getvalue()),
        ("archive.pt", archive.getvalue()),
        ("half.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{"),
        ("huge.safetensors", b"\xff" * 8 + b"{" + b" " * 100),
        ("text.safetensors", b"nothing"),
        ("renamed.safetensors", evil.getvalue()),
    ]


NAMES = [name for name, _ in hostile(__import__("pathlib").Path("/nonexistent"))]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_hostile_weights_are_refused_without_running_anything(name, tmp_path):
    data = dict(hostile(tmp_path))[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_state(tmp_path / name)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 250
    assert not (tmp_path / "code-was-run").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no weights file .*nowhere\.pt"):
        read_state(tmp_path / "nowhere.pt")


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}]
)
def test_usual_wrappers_are_taken_off(tmp_path, wrap):
    state = nn.Linear(2, 3).state_dict()
    torch.save(wrap(state), tmp_path / "w.pt")
    for found in (published_state(tmp_path / "w.pt"), best_match(read_state(tmp_path / "w.pt"), nn.Linear(2, 3)).state):
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], value) for key, value in state.items())


class Body(nn.Module):
    """Names at two depths, one of which ends like another."""

    def __init__(self, classes=4):
        super().__init__()
        self.stem, self.block = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, classes)


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "prefix", ["net.", "model.module.", "_orig_mod.module.net.", "state_dict.model.backbone.", "a.b.c.d.e."]
)
def test_prefixes_are_found_in_any_order_and_depth(prefix):
    state = Body(classes=7).state_dict()
    found = best_match(prefixed(prefix, state), Body())
    assert (found.prefix, found.left, found.notes) == (prefix, (), ())
    assert found.state.keys() == state.keys()


def test_of_two_copies_the_one_that_was_trained_is_taken_and_the_other_is_listed():
    trained, average = Body().state_dict(), Body().state_dict()
    both = {**prefixed("model_ema.module.", average), **prefixed("model.", trained), "criterion.weight": torch.ones(4)}
    found = best_match(both, Body())
    assert found.prefix == "model."
    assert torch.equal(found.state["head.weight"], trained["head.weight"])
    assert len(found.left) == len(average) + 1
    assert found.notes[0].startswith(
        f"{len(found.left)} tensors of the file are not used (model_ema.module.stem.weight, "
    )
    assert found.notes[0].endswith("those under model were taken.")


@pytest.mark.parametrize("beside", ["head.", "model.classifier.head."])
def test_a_head_beside_its_backbone_is_found_and_told(beside):
    state = Body(classes=7).state_dict()
    apart = {
        (beside if key.startswith("head") else "backbone.") + key.removeprefix("head."): state[key] for key in state
    }
    found = best_match(apart, Body())
    assert found.state.keys() == state.keys()
    assert found.left == ()
    assert found.notes == (f"Taken from beside backbone: {beside}weight, {beside}bias.",)


def test_weights_of_whole_numbers_are_refused():
    state = {key: value.mul(10).to(torch.int8) for key, value in nn.Linear(2, 2).state_dict().items()}
    with pytest.raises(ModelError, match=r"whole numbers \(weight: int8\): save the floats"):
        fit_state(nn.Linear(2, 2), state, "They")


def test_a_deeper_network_does_not_pass_for_a_shallower_one():
    state = {**Body().state_dict(), "block.2.weight": torch.ones(3, 3)}
    found = best_match(prefixed("module.", state), Body())
    assert "block.2.weight" in found.state
    with pytest.raises(ModelError, match=r"1 unknown \(block\.2\.weight\)"):
        fit_state(Body(), found.state, "They")


def test_averaged_models_and_training_states_are_read(tmp_path):
    net = Body()
    average = torch.optim.swa_utils.AveragedModel(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net.head(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, "model": average.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "w.pt")
    found = best_match(read_state(tmp_path / "w.pt"), Body())
    assert found.prefix == "model.module."
    assert "model.n_averaged" in found.left
    fit_state(Body(), found.state, "They")


def test_safetensors_are_read_whatever_their_extension(tmp_path):
    state = nn.Linear(2, 3).state_dict()
    for name in ("w.safetensors", "w.bin"):
        save_file(state, tmp_path / name)
        assert torch.equal(read_state(tmp_path / name)["weight"], state["weight"])


def test_a_misfit_is_counted_and_exemplified():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    state = {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(3), "other": torch.ones(1)}
    with pytest.raises(
        ModelError,
        match=r"2 missing \(1\.weight; 1\.bias\), 1 unknown \(other\), 1 of .* \(0\.weight: 2 x 2, not 3 x 2\)\. Give",
    ):
        fit_state(module, state, "The weights")
    good = {name: value.clone() for name, value in module.state_dict().items()}
    good["0.bias"][0] = float("nan")
    with pytest.raises(ModelError, match=r"not finite \(in 0\.bias\)"):
        fit_state(module, good, "The weights")


def test_batch_counters_may_be_missing():
    module = nn.BatchNorm2d(3)
    state = {name: value for name, value in module.state_dict().items() if name != "num_batches_tracked"}
    fit_state(module, state, "The weights")


def test_the_digest_covers_names_shapes_types_and_values():
    torch.manual_seed(0)
    base = nn.Linear(4, 4)
    same, other = nn.Linear(4, 4), nn.Linear(4, 4)
    same.load_state_dict(base.state_dict())
    assert digest(base) == digest(same)
    assert len({digest(base), digest(other), digest(nn.Sequential(base)), digest(same.double())}) == 4


def test_every_torch_load_in_the_library_reads_weights_only():
    from pathlib import Path

    import spade_core

    for file in Path(spade_core.__file__).parent.rglob("*.py"):
        for line in file.read_text().splitlines():
            if "torch.load(" in line and not line.lstrip().startswith(("#", '"')) and "``" not in line:
                assert "weights_only=True" in line, f"{file.name}: {line}"


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2, 2).to_sparse(),
        torch.ones(2, 2, dtype=torch.complex64),
        torch.ones(2, 2, device="meta"),
        torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8),
    ],
    ids=["sparse", "complex", "meta", "quantized"],
)
def test_tensors_without_plain_numbers_are_refused(tmp_path, value):
    torch.save({"bias": torch.ones(2), "weight": value}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"\(in weight\): save plain tensors"):
        read_state(tmp_path / "w.pt")


def test_whatever_holds_a_tensor_has_a_name(tmp_path):
    torch.save({"weight": torch.ones(2), 3: torch.ones(2), "seen": {"epoch": 4}}, tmp_path / "w.pt")
    assert list(read_state(tmp_path / "w.pt")) == ["weight", "3"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_short_floats_are_widened(dtype):
    module = nn.Linear(2, 2)
    fit_state(module, {name: torch.ones(value.shape).to(dtype) for name, value in module.state_dict().items()}, "They")
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, torch.ones(2, 2))


URL = "https://example.org/models/net-0123abcd.pth"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return hub_file(URL)


def test_damaged_files_in_the_cache_are_named(cache):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"half a download")
    with pytest.raises(ModelError, match="The cached weights of net are damaged: delete") as caught:
        load_hub_state(URL, "net", "lite")
    assert str(cache) in str(caught.value)


def test_downloads_go_to_the_cache_with_their_hash(cache, monkeypatch):
    asked = []

    def download(url, file, prefix, progress):
        asked.append((url, prefix))
        torch.save({"weight": torch.ones(2)}, file)

    monkeypatch.setattr("spade_core.models.weights.urlopen", lambda *args, **kwargs: io.BytesIO())
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert load_hub_state(URL, "net", "lite").keys() == {"weight"}
    assert asked == [(URL, "0123abcd")]


def test_a_server_that_answers_is_reachable(monkeypatch):
    def refuse(request, timeout):
        assert timeout <= 10
        raise HTTPError(request.full_url, 403, "forbidden", None, io.BytesIO())

    monkeypatch.setattr("spade_core.models.weights.urlopen", refuse)
    check_reachable(URL)


def test_a_cache_that_cannot_be_written_gives_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="could not be fetched"):
        load_hub_state(URL, "net", "lite")
