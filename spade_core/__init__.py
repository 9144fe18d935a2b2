"""SPADE Studio's library: see why a vision model decided what it did on one image.

>>> import spade_core as sc
>>> model = sc.load_model("efficientnet_lite0")
>>> picture = sc.load_picture("bundled:cat")
>>> trace = sc.trace(model, picture)
>>> sc.explain(trace, picture, method="saliency").map.shape
(224, 224)

The names below are imported on first use, so that light commands do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spade_core.analysis import AnalysisConfig, analyse
    from spade_core.errors import SpadeError
    from spade_core.images import bundled, load_picture
    from spade_core.models import load_model, predict, wrap_model
    from spade_core.neurons.objectives import Neuron
    from spade_core.results import bundle, replay, save
    from spade_core.saliency import explain
    from spade_core.spade import trace
    from spade_core.trace_file import load_trace
    from spade_core.visualization import VisualizeConfig, visualize

__version__ = "0.1.0"

__all__ = [
    "AnalysisConfig",
    "Neuron",
    "SpadeError",
    "VisualizeConfig",
    "analyse",
    "bundle",
    "bundled",
    "explain",
    "load_model",
    "load_picture",
    "load_trace",
    "predict",
    "replay",
    "save",
    "trace",
    "visualize",
    "wrap_model",
]

_HOMES = {
    "AnalysisConfig": "analysis",
    "Neuron": "neurons.objectives",
    "SpadeError": "errors",
    "VisualizeConfig": "visualization",
    "analyse": "analysis",
    "bundle": "results",
    "bundled": "images",
    "explain": "saliency",
    "load_model": "models",
    "load_picture": "images",
    "load_trace": "trace_file",
    "predict": "models",
    "replay": "results",
    "save": "results",
    "trace": "spade",
    "visualize": "visualization",
    "wrap_model": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spade_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"spade_core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
