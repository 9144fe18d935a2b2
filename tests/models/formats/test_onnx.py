"""ONNX files: equal outputs or a refusal that names the operator."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

import spade_core as sc
from spade_core.errors import ModelError
from spade_core.models.formats import onnx as formats

if "CI" not in os.environ:
    pytest.importorskip("onnx2torch", reason="not installed: pip install -r requirements-models.txt")
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SIZE, WIDTH, CLASSES = 8, 4, 3
FLATTEN = ("Flatten", ("pooled",), ("flat",), {})


def weights(**shapes):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def save(path, steps, constants, *, batch="n", sides=(3, SIZE, SIZE), outputs=("logits",), domain=""):
    """Write a graph; a step is ``(operator, inputs, outputs, attributes)``."""
    nodes = [helper.make_node(kind, list(given), list(made), name=made[0], **more) for kind, given, made, more in steps]
    nodes[-1].domain = domain
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, *sides))]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch, CLASSES)) for name in outputs]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", inputs, made, tensors)
    versions = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)
    return path


def convolutional(path, last="Relu", **options):
    """Write a small network; ``last`` is the operator before its pooling."""
    constants = weights(**{"conv.weight": (WIDTH, 3, 3, 3), "conv.bias": (WIDTH,), "head": (WIDTH, CLASSES)})
    constants |= {"bias": np.array([0.1, 0.2, 0.3], np.float32)}
    steps = [
        ("Identity", ("conv.bias",), ("same",), {}),  # as exporters keep what is equal to something else
        ("Conv", ("x", "conv.weight", "same"), ("/stem/stem.0/Conv",), {"pads": [1, 1, 1, 1]}),
        (last, ("/stem/stem.0/Conv",), ("/stem/act/Act",), options.pop("more", {})),
        ("GlobalAveragePool", ("/stem/act/Act",), ("pooled",), {}),
        options.pop("flatten", FLATTEN),
        ("MatMul", ("flat", "head"), ("/head/MatMul",), {}),
        ("Add", ("/head/MatMul", "bias"), ("logits",), {}),
    ]
    return save(path, steps, constants | options.pop("constants", {}), **options)


def answer(path, x):
    return ReferenceEvaluator(str(path)).run(None, {"x": x})[0]


@pytest.fixture
def file(tmp_path):
    return convolutional(tmp_path / "net.onnx")


def test_a_file_is_explained_as_what_onnx_computes(file, noise):
    model = sc.load_model(weights=file, device="cpu")
    assert [(one.name, one.kind) for one in model.layers] == [("stem.0", "conv2d"), ("head", "linear")]
    assert (model.name, model.preprocessing.size, model.labels[2]) == ("net", SIZE, "class 2")
    assert any("mean and std are taken" in note for note in model.notes)
    logits = answer(file, model.input(noise).numpy())
    assert np.allclose(sc.predict(model, noise), torch.tensor(logits).softmax(1)[0], atol=1e-6)
    trace = sc.trace(model, noise, sparsity=0.5, preset="uniform", views=2)
    assert np.isfinite(sc.explain(trace, noise, method="gradcam").map).all()


def test_mean_std_and_names_are_the_users(file, tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog\nowl")
    told = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "classes": tmp_path / "names.txt"}
    model = sc.load_model(weights=file, device="cpu", **told)
    assert (model.labels, model.preprocessing.std) == (("cat", "dog", "owl"), (0.2, 0.2, 0.2))
    assert not any("mean and std" in note for note in model.notes)
    again = sc.load_model(**{key: one for key, one in model.spec.items() if one is not None}, device="cpu")
    assert again.sha256 == model.sha256


def test_a_batch_of_one_becomes_any(tmp_path):
    """A reshaping to one row, and one token for one picture, as exporters write them by default."""
    shape, token = np.array([1, 1, WIDTH], np.int64), np.ones((1, 1, WIDTH), np.float32)
    steps = [
        ("Conv", ("x", "conv"), ("y",), {}),
        ("GlobalAveragePool", ("y",), ("pooled",), {}),
        ("Reshape", ("pooled", "shape"), ("row",), {}),
        ("Concat", ("token", "row"), ("tokens",), {"axis": 1}),
        ("ReduceMean", ("tokens",), ("mean",), {"axes": [1], "keepdims": 0}),
        ("MatMul", ("mean", "head"), ("logits",), {}),
    ]
    constants = weights(conv=(WIDTH, 3, 3, 3), head=(WIDTH, CLASSES)) | {"shape": shape, "token": token}
    path = save(tmp_path / "one.onnx", steps, constants, batch=1)
    found = formats.read_onnx(path)
    x = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    wanted = np.concatenate([answer(path, one[None].numpy()) for one in x])
    with torch.no_grad():
        assert np.allclose(found.module(x), wanted, atol=1e-6)
    assert (found.size, found.classes) == (SIZE, CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"last": "Hardmax"}, r"does not convert \(operator Hardmax\)"),
        ({"last": "Relu", "domain": "com.example"}, "ONNX itself does not run|no readable ONNX"),
        ({"sides": (SIZE, SIZE, 3)}, "reads any x 8 x 8 x 3 numbers"),
        ({"sides": (3, SIZE, None)}, "reads any x 3 x 8 x any"),
        ({"sides": (3, 4096, 4096)}, "reads any x 3 x 4096 x 4096"),
    ],
)
def test_refusals_name_what_does_not_fit(tmp_path, options, message):
    with pytest.raises(ModelError, match=message) as caught:
        sc.load_model(weights=convolutional(tmp_path / "net.onnx", **options), device="cpu")
    assert str(caught.value).count(". ") <= 1


def test_other_answers_than_onnx_gives_are_refused(file, monkeypatch):
    import onnx2torch

    def other(model, convert=onnx2torch.convert):
        network = convert(model)
        next(network.parameters()).data.mul_(1.01)
        return network

    monkeypatch.setattr(onnx2torch, "convert", other)
    with pytest.raises(ModelError, match="answers otherwise than ONNX"):
        sc.load_model(weights=file, device="cpu")


def test_weights_beside_the_file_are_read_and_those_elsewhere_refused(file, tmp_path, noise):
    plain = sc.predict(sc.load_model(weights=file, device="cpu"), noise)
    beside = tmp_path / "beside" / "net.onnx"
    beside.parent.mkdir()
    onnx.save(onnx.load(str(file)), beside, save_as_external_data=True, location="net.data", size_threshold=0)
    assert np.allclose(sc.predict(sc.load_model(weights=beside, device="cpu"), noise), plain)
    model = onnx.load(str(beside), load_external_data=False)
    for place in ("../beside/net.data", str(beside.parent / "net.data")):
        for tensor in model.graph.initializer:
            next(entry for entry in tensor.external_data if entry.key == "location").value = place
        beside.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="keeps weights in another folder"):
            sc.load_model(weights=beside, device="cpu")


@pytest.mark.parametrize("data", [b"", b"not a protobuf at all", b"\x08\x08\x12\x00"])
def test_what_is_no_onnx_file_is_refused(tmp_path, data):
    (tmp_path / "bad.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="no readable ONNX file"):
        sc.load_model(weights=tmp_path / "bad.onnx", device="cpu")


def test_without_the_packages_one_sentence_says_what_to_install(file, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs onnx and onnx2torch, install them with: pip install"):
        sc.load_model(weights=file, device="cpu")


def test_an_architecture_beside_the_file_is_refused(file):
    with pytest.raises(ModelError, match="leave --arch out"):
        sc.load_model(weights=file, arch="resnet18", device="cpu")
