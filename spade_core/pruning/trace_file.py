"""A trace in a file: only the weights that survived, as safetensors, loaded again onto the same dense model.

Each pruned weight is stored as its surviving values in row-major order and one bit a weight that says which survived;
all other tensors are the dense model's. The header names the model, the sha256 of its weights, and all options of the
trace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spade_core.errors import ModelError
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel, Network, RecordedModel
from spade_core.models.loading import load_spec
from spade_core.pruning.trace import Trace

FORMAT = "spade-trace-1"


@dataclass(frozen=True, eq=False)
class StoredTrace(Network):
    """A trace that was read from a file; ``predict`` and ``explain`` take it like a fresh one.

    Attributes:
        model: the dense model; module: the pruned network.
        described: options, fidelity, layers and picture, as they were recorded.
    """

    model: LoadedModel
    module: nn.Module
    described: Mapping[str, Any]


class _Described(BaseModel):
    """What of a file's description is read before anything else is known of it."""

    model_config = ConfigDict(extra="allow")
    model: RecordedModel


def trace_bytes(trace: Trace) -> bytes:
    """Return ``trace`` as the bytes of a safetensors file."""
    tensors: dict[str, Tensor] = {}
    for row, layer in zip(trace.report.layers, trace.model.layers, strict=True):
        if row.status != "pruned":
            continue
        weight = trace.module.get_parameter(layer.parameter).detach().cpu().contiguous().flatten()
        alive = weight != 0
        tensors[f"{layer.parameter}.values"] = weight[alive].clone()
        tensors[f"{layer.parameter}.alive"] = torch.from_numpy(np.packbits(alive.numpy()))
    asked, report = {"picture": {"sha256": trace.picture_sha256}, "trace": trace.config.to_dict()}, trace.report
    found = {"fidelity": trace.fidelity.to_dict(), "sparsity": report.sparsity, "layers": report.to_rows()}
    described = json.dumps({"model": trace.model.to_dict(), **asked, **found})
    return save(tensors, {"format": FORMAT, "described": described})


def load_trace(path: str | Path, *, model: LoadedModel | None = None, device: str = "auto") -> StoredTrace:
    """Load what :func:`trace_bytes` wrote.

    Args:
        model: the dense model; None: loaded on ``device`` as the file records it.

    Raises:
        ModelError: the file is absent, damaged or of other weights.
    """
    path = Path(path)
    described, tensors = _read(path)
    dense = model or load_spec(described["model"]["spec"], device=device)
    if dense.sha256 != described["model"]["sha256"]:
        raise ModelError(
            f"The trace in {path.name} belongs to other weights than those of {dense.name}: give its model."
        )
    names = [name.removesuffix(".values") for name in tensors if name.endswith(".values")]
    known = dict(dense.module.named_parameters())
    if strange := [name for name in names if name not in known or f"{name}.alive" not in tensors]:
        raise ModelError(f"{path.name} is damaged: of {strange[0]} a part is missing; write it again.")
    module = share_copy(dense.module, own=names)
    with torch.no_grad():
        for name in names:
            _fill(module.get_parameter(name), tensors[f"{name}.values"], tensors[f"{name}.alive"], path.name)
    return StoredTrace(dense, module, described)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise ModelError(f"There is no trace file {path}: check the path.")
    try:
        with safe_open(path, "pt", backend="pread") as file:  # read, not mapped: as in models/weights.py
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        if header.get("format") != FORMAT:
            raise ModelError(f"{path.name} holds no trace: give a file that this program wrote.")
        _Described.model_validate_json(header["described"])
        return json.loads(header["described"]), tensors
    except (SafetensorError, OSError, ValidationError, KeyError) as error:
        raise ModelError(f"{path.name} is no readable trace file: write it again.") from error


def _fill(parameter: Tensor, values: Tensor, alive: Tensor, name: str) -> None:
    whole = alive.dtype == torch.uint8 and alive.dim() == values.dim() == 1
    bits = np.unpackbits(alive.numpy())[: parameter.numel()] if whole else np.empty(0)
    mask = torch.from_numpy(bits.astype(bool))
    if len(mask) != parameter.numel() or int(mask.sum()) != len(values):
        raise ModelError(f"{name} is damaged: its weights and their places do not match; write it again.")
    flat = torch.zeros(parameter.numel(), dtype=parameter.dtype)
    flat[mask] = values.to(parameter.dtype)
    parameter.copy_(flat.view(parameter.shape))
