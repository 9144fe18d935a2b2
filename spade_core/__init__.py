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
    from spade_core.errors import SpadeError
    from spade_core.models.loaded import predict
    from spade_core.models.loading import load_model, wrap_model
    from spade_core.neurons import Neuron
    from spade_core.pictures.picture import bundled, load_picture
    from spade_core.pruning.spade import trace
    from spade_core.pruning.trace_file import load_trace
    from spade_core.results.comparison import analyse, bundle, replay
    from spade_core.results.config import AnalysisConfig, VisualizeConfig
    from spade_core.results.drawing import visualize
    from spade_core.results.manifest import save
    from spade_core.saliency.explanation import explain

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
    "AnalysisConfig": "results.config",
    "Neuron": "neurons",
    "SpadeError": "errors",
    "VisualizeConfig": "results.config",
    "analyse": "results.comparison",
    "bundle": "results.comparison",
    "bundled": "pictures.picture",
    "explain": "saliency.explanation",
    "load_model": "models.loading",
    "load_picture": "pictures.picture",
    "load_trace": "pruning.trace_file",
    "predict": "models.loaded",
    "replay": "results.comparison",
    "save": "results.manifest",
    "trace": "pruning.spade",
    "visualize": "results.drawing",
    "wrap_model": "models.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spade_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"spade_core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
