"""Looking into a trace, against slow counting; and the trace in a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spade_core import predict
from spade_core.errors import LayerError, ModelError
from spade_core.inspection.survivors import alive, fidelity_curve, inputs_kept, overlap
from spade_core.pruning.spade import trace
from spade_core.pruning.trace_file import FORMAT, load_trace, trace_bytes
from spade_core.saliency.explanation import explain
from tests.nets import plain


@pytest.fixture(scope="module")
def made(small, noise):
    return trace(small, noise, sparsity=0.6, views=4)


def test_alive_and_inputs_kept_count_the_weights(made):
    weight = made.module.get_parameter("grouped.weight").detach().numpy()
    mask = alive(made, "grouped")
    assert mask.shape == (12, 36)
    assert np.array_equal(mask, weight.reshape(12, -1) != 0)
    expected = [sum(bool((weight[row, channel] != 0).any()) for channel in range(4)) for row in range(12)]
    assert inputs_kept(made, "grouped").tolist() == expected
    with pytest.raises(LayerError, match="no prunable layer"):
        alive(made, "act0")


def test_overlap_is_the_jaccard_index(small, made, coffee):
    other = trace(small, coffee, sparsity=0.6, views=4)
    found = overlap(made, other)
    a, b = (part.module.get_parameter("pointwise.weight") != 0 for part in (made, other))
    assert found["pointwise"] == pytest.approx(float((a & b).sum() / (a | b).sum()))
    assert set(overlap(made, made).values()) == {1.0}
    assert "stem" not in found


def test_the_curve_falls_with_the_ratio(small, noise):
    done = []
    curve = fidelity_curve(
        small, noise, ratios=(0.2, 0.95), options={"views": 4}, progress=lambda now, *_: done.append(now)
    )
    found = [next(curve)]
    assert done[-1] == 0.5, "a point comes before the next trace is begun"
    found += curve
    assert [point.ratio for point in found] == [0.2, 0.95]
    assert found[0].kl < found[1].kl
    assert found[0].sparsity < found[1].sparsity


def test_a_trace_comes_back_from_its_file(small, noise, made, tmp_path):
    file = tmp_path / "trace.safetensors"
    file.write_bytes(trace_bytes(made))
    back = load_trace(file, model=small)
    for name, value in made.module.state_dict().items():
        assert torch.equal(value, back.module.state_dict()[name]), name
    assert np.array_equal(predict(back, noise), predict(made, noise))
    maps = [explain(network, noise, method="saliency").map for network in (back, made)]
    assert np.array_equal(*maps)
    assert back.described["fidelity"]["target"] == made.fidelity.target
    dense = sum(value.numel() for name, value in small.module.state_dict().items() if value.dim() > 1)
    values = sum(len(value) for name, value in _tensors(file).items() if name.endswith("values"))
    assert values < 0.6 * dense


def _tensors(file):
    from safetensors.torch import load_file

    return load_file(file)


def test_damaged_and_foreign_trace_files_get_a_sentence(small, made, tmp_path):
    file = tmp_path / "trace.safetensors"
    with pytest.raises(ModelError, match="no trace file"):
        load_trace(file, model=small)
    file.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no readable trace file"):
        load_trace(file, model=small)
    file.write_bytes(trace_bytes(made)[:-100])
    with pytest.raises(ModelError, match="no readable trace file"):
        load_trace(file, model=small)
    file.write_bytes(trace_bytes(made))
    with pytest.raises(ModelError, match="other weights"):
        load_trace(file, model=plain(seed=1))
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match="holds no trace"):
        load_trace(file, model=small)
    for described in ("{}", "[]", '{"model": 1}', '{"model": {"name": "a", "sha256": "0", "spec": {"path": "/"}}}'):
        save_file({"a": torch.zeros(1)}, file, {"format": FORMAT, "described": described})
        with pytest.raises(ModelError, match="no readable trace file"):
            load_trace(file, model=small)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("pointwise.weight.alive"),
        lambda tensors: tensors.update({"nowhere.weight.values": torch.zeros(1)}),
        lambda tensors: tensors.update({"pointwise.weight.alive": torch.zeros(1, dtype=torch.uint8)}),
        lambda tensors: tensors.update({"pointwise.weight.alive": torch.zeros(200)}),
    ],
    ids=["no places", "unknown parameter", "too few places", "places of another type"],
)
def test_a_trace_file_whose_parts_do_not_fit_gets_a_sentence(small, made, tmp_path, change):
    from safetensors import safe_open
    from safetensors.torch import save_file

    file = tmp_path / "trace.safetensors"
    file.write_bytes(trace_bytes(made))
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    tensors = _tensors(file)
    change(tensors)
    save_file(tensors, file, header)
    with pytest.raises(ModelError, match="damaged"):
        load_trace(file, model=small)
