"""The doors that read networks: ONNX files, folders of transformers and timm, stored traces."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import nn

import spade_core as sc
from benchmarks.fuzz.files import Door, byte_file, text_file, text_of
from spade_core.models.formats.folder import read_folder, read_json
from spade_core.models.formats.onnx import read_onnx
from spade_core.models.formats.transformers import preprocessing_of
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import Picture
from spade_core.pruning.trace_file import load_trace, trace_bytes

SIZE, CLASSES = 16, 3


def network_doors(folder: Path) -> dict[str, tuple[str, Door]]:
    """Return the doors of networks; those whose library is not installed are left out."""
    found = {**_traces(folder), "timm's config": _timm(folder / "timm")}
    if find_spec("onnx2torch") is not None:
        found["ONNX"] = (_onnx(folder / "good.onnx"), byte_file(folder / "net.onnx", lambda path: read_onnx(path, 8)))
    if find_spec("transformers") is not None:
        found |= _transformers(folder / "network")
    return found


def _traces(folder: Path) -> dict[str, tuple[str, Door]]:
    """Return the doors of a stored trace: its bytes, and what its header describes."""
    model, file = _model(), folder / "trace.safetensors"
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    whole = trace_bytes(sc.trace(model, Picture(pixels, "x", "0"), preset="uniform", sparsity=0.5, views=2))
    (folder / "good.safetensors").write_bytes(whole)
    with safe_open(folder / "good.safetensors", "pt") as opened:
        header = dict(opened.metadata())
    tensors = load(whole)

    def described(text: str) -> object:
        file.write_bytes(save(tensors, {**header, "described": text.encode("utf-8", "ignore").decode()}))
        return load_trace(file, model=model)

    return {
        "trace": (text_of(whole), byte_file(file, lambda path: load_trace(path, model=model))),
        "trace's header": (header["described"], described),
    }


def _model() -> LoadedModel:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES))
    return sc.wrap_model(module, size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, labels=["a", "b", "c"], device="cpu")


def _onnx(file: Path) -> str:
    """Return a small network's file."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    rng = np.random.default_rng(0)
    shapes = {"conv": (4, 3, 3, 3), "head": (4, CLASSES)}
    tensors = [numpy_helper.from_array(rng.normal(size=shape).astype("f"), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "conv"], ["mixed"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["mixed"], ["kept"]),
        helper.make_node("GlobalAveragePool", ["kept"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 8, 8))
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("n", CLASSES))
    graph = helper.make_graph(nodes, "net", [given], [made], tensors)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return text_of(file.read_bytes())


def _timm(folder: Path) -> tuple[str, Door]:
    """Return the door of a folder of timm: its ``config.json`` beside weights."""
    network = timm.create_model("test_vit", num_classes=CLASSES, depth=1)
    cfg = {"input_size": [3, SIZE, SIZE], "crop_pct": 0.9, "mean": [0.5] * 3, "std": [0.5] * 3}
    more = {"interpolation": "bicubic", "crop_mode": "center", "classifier": "head", "label_names": ["a", "b", "c"]}
    config = {
        "architecture": "test_vit",
        "num_classes": CLASSES,
        "model_args": {"depth": 1},
        "pretrained_cfg": cfg | more,
    }
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(save(network.state_dict()))
    return json.dumps(config), _folder_door(folder, "config.json")


def _folder_door(folder: Path, name: str) -> Door:
    """Return the door of a folder in which one file is the input."""
    return text_file(folder / name, lambda path: read_folder(path.parent))


def _transformers(folder: Path) -> dict[str, tuple[str, Door]]:
    """Return the doors of a folder of transformers: its two configurations beside weights."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(**sizes, image_size=SIZE, patch_size=8, id2label={0: "cat", 1: "dog"}, label2id={})
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    good = json.loads((folder / "config.json").read_text())
    file = folder / "preprocessor_config.json"
    told = json.dumps(json.loads(file.read_text()))
    return {
        "config.json": (json.dumps(good), _folder_door(folder, "config.json")),
        file.name: (told, text_file(folder / "told.json", lambda path: preprocessing_of(good, read_json(path), "it"))),
    }
