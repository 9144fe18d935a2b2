"""Networks that are made of a folder: what they are, and runs that explain them."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from spade_core.errors import ConfigError, LayerError
from spade_core.evaluation import Configuration, run
from spade_core.evaluation.baselines import sparse_fc
from spade_core.evaluation.baselines.references import References, made_of, reference_pictures
from spade_core.evaluation.baselines.replacement import Replacement
from spade_core.evaluation.engine import Work
from spade_core.models.loading import wrap_model
from spade_core.pictures.picture import load_picture
from spade_core.progress import Cancelled
from tests.evaluation.conftest import SETTINGS
from tests.nets import Plain, randomize

ARMS = ("dense", "global", "sparse_fc")


@pytest.fixture(scope="module")
def references(folder, tmp_path_factory):
    """Twelve pictures that no run measures."""
    made = tmp_path_factory.mktemp("references")
    for number in range(12):
        pixels = np.random.default_rng(100 + number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(made / f"r{number:02}.png")
    return made


def configured(**changes):
    return Configuration("faithfulness", **{**SETTINGS, "arms": ARMS, **changes})


@pytest.fixture(scope="module")
def shared(small, references):
    return made_of(small, configured(), sorted(references.iterdir()))


def test_a_folded_sparse_layer_is_the_sparse_classifier_of_the_features(small, shared, references):
    """The path is fitted again on features read by hand, and its classifier compared on the pictures' logits."""
    pictures = [load_picture(path) for path in sorted(references.iterdir())]
    x = torch.cat([small.input(one) for one in pictures])
    seen = []
    net = pickle.loads(pickle.dumps(small.module))
    net.head.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    logits = net(x)
    kept = torch.arange(12) != sparse_fc.HELD_OUT - 1
    mean, spread = seen[0][kept].mean(0), seen[0][kept].std(0, correction=0)
    unit = (seen[0] - mean) / spread
    path = sparse_fc.elastic_net.path(
        unit[kept], logits[kept].softmax(1), count=sparse_fc.PENALTIES, smallest=sparse_fc.SMALLEST
    )
    held = [(one, bool(one(unit[~kept]).argmax() == logits[~kept].argmax())) for one in path]
    chosen = next(one for one, right in held if right == any(right for _, right in held))
    baseline = shared["sparse_fc"].on(small, pictures[0], 0)
    torch.testing.assert_close(baseline.module(x), chosen(unit), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(baseline.module.stem.weight, small.module.stem.weight)


def test_sparse_classifiers_are_sparser_the_more_agreement_is_given_up(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = 3 + 5 * torch.randn(200, 8, generator=generator, dtype=torch.float64)
    wanted = (x @ torch.randn(8, 4, generator=generator, dtype=torch.float64)).softmax(1)
    counts = []
    for points in (0.0, 40.0):
        monkeypatch.setattr(sparse_fc, "POINTS", points)
        found = sparse_fc.fitted(x, wanted)
        counts.append(int((found.weight != 0).sum()))
        agreed = float((found(x).argmax(1) == wanted.argmax(1)).double().mean())
        assert agreed > (0.9 if not points else 0.5)
    assert 0 < counts[1] < counts[0]


def test_runs_explain_them_and_tell_what_they_are(small, folder, references, tmp_path, untouched):
    quick = configured(methods=("saliency",), processing=("raw",))
    with untouched(small):
        run(small, folder, tmp_path / "first", quick, reference=references, limit=2)
    run(small, folder, tmp_path / "second", quick, reference=references, limit=2)
    for name in ("results.parquet", "table.md"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    rows = pd.read_parquet(tmp_path / "first" / "results.parquet").groupby("arm")
    assert rows.sparsity.nunique().to_dict() == dict.fromkeys(ARMS, 1), "one network for all pictures"
    assert rows.sparsity.first()["global"] == pytest.approx(0.5, abs=0.12)
    assert rows.kl.mean()["sparse_fc"] > rows.kl.mean()["dense"] == 0
    assert len(set(rows.insertion.mean())) == 3


def test_a_run_of_other_references_is_refused(small, folder, references, tmp_path):
    run(small, folder, tmp_path / "out", configured(arms=("dense", "sparse_fc")), reference=references, limit=1)
    others = tmp_path / "others"
    shutil.copytree(references, others)
    (others / "r00.png").unlink()
    with pytest.raises(ConfigError, match="reference was"):
        run(small, folder, tmp_path / "out", configured(arms=("dense", "sparse_fc")), reference=others, limit=1)


def test_what_is_shared_goes_to_other_processes_with_the_work(small, folder, shared):
    data = (folder / "0.png").read_bytes()
    work = Work(small, configured(), shared=shared)
    there = pickle.loads(pickle.dumps(work))
    assert np.array_equal(there.measure("0.png", data).scores, work.measure("0.png", data).scores)


def test_where_there_are_no_references_a_sentence_says_what_to_do(small, folder, tmp_path):
    paths = sorted(folder.iterdir())
    with pytest.raises(ConfigError, match="give --reference DIR"):
        reference_pictures(configured(), folder, paths, None)
    with pytest.raises(ConfigError, match="give another --reference"):
        reference_pictures(configured(), folder, paths, tmp_path)
    with pytest.raises(ConfigError, match="give --reference a folder"):
        reference_pictures(configured(), folder, paths, tmp_path / "none")
    with pytest.raises(ConfigError, match="leave --reference out"):
        reference_pictures(configured(arms=("dense",)), folder, paths, folder)
    assert reference_pictures(configured(arms=("dense",)), folder, paths, None) == []


def test_a_divided_folder_gives_its_training_split(references):
    every = sorted(references.iterdir())
    measured = [path for index, path in enumerate(every) if index % 10 > 3]
    assert reference_pictures(configured(), references, measured, None) == [every[at] for at in (0, 1, 2, 3, 10, 11)]


def test_redrawn_models_have_none():
    with pytest.raises(ConfigError, match="The arm global is not made anew"):
        Configuration("sanity", **{**SETTINGS, "arms": ARMS})


def test_too_few_pictures_are_refused(small, folder):
    with pytest.raises(ConfigError, match="needs at least 11 reference pictures, not 5"):
        made_of(small, configured(arms=("sparse_fc",)), sorted(folder.iterdir()))


class Scaled(Plain):
    """What follows the last layer is not seen by who fits it."""

    def forward(self, x):
        return 2 * super().forward(x)


class Bare(Plain):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 10, bias=False)


@pytest.mark.parametrize("net", [Scaled, Bare])
def test_a_model_that_does_not_end_in_a_linear_layer_is_refused(net, references):
    module = net()
    module = randomize(module, 16) if net is Scaled else module.eval()
    model = wrap_model(module, size=16, name="other", device="cpu")
    with pytest.raises(LayerError, match="one linear layer with a bias at the very end, which other does not have"):
        made_of(model, configured(arms=("sparse_fc",)), sorted(references.iterdir()))


def test_a_cancel_ends_the_making(small, references):
    def stop(done, total, note):
        raise Cancelled

    with pytest.raises(Cancelled):
        made_of(small, configured(), sorted(references.iterdir()), stop)


def test_zeros_are_counted_over_all_prunable_weights(small):
    name = small.layers[-1].parameter
    weight = small.module.get_parameter(name)
    found = Replacement.of(small, {name: torch.zeros_like(weight)})
    assert found.sparsity == pytest.approx(weight.numel() / sum(layer.numel for layer in small.layers))


def test_what_is_no_picture_is_left_out_of_the_references(small, references, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"%PDF-1.4")
    given = References(small, configured(), "global", [broken, *sorted(references.iterdir())[:2]])
    assert [one.picture.name for one in given.subjects()] == ["r00.png", "r01.png"]
    assert [one.picture.name for one in replace(given, paths=[broken]).subjects()] == []
