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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spade_core.errors import SpadeError as SpadeError
    from spade_core.models.loaded import predict as predict
    from spade_core.models.loading import load_model, wrap_model
    from spade_core.neurons import Neuron as Neuron
    from spade_core.notebook import view as view
    from spade_core.pictures.picture import bundled, load_picture
    from spade_core.pruning.spade import prune_globally, trace, trace_many
    from spade_core.pruning.trace import Bundle as Bundle
    from spade_core.pruning.trace_file import load_trace as load_trace
    from spade_core.results.comparison import analyse, bundle, replay
    from spade_core.results.config import AnalysisConfig, VisualizeConfig
    from spade_core.results.drawing import visualize as visualize
    from spade_core.results.manifest import save as save
    from spade_core.saliency.advice import advise_layers as advise_layers
    from spade_core.saliency.explanation import explain as explain

__version__ = "0.1.0"

_NAMES = {  # module -> its names
    "errors": "SpadeError",
    "models.loaded": "predict",
    "models.loading": "load_model wrap_model",
    "neurons": "Neuron",
    "notebook": "view",
    "pictures.picture": "bundled load_picture",
    "pruning.spade": "prune_globally trace trace_many",
    "pruning.trace": "Bundle",
    "pruning.trace_file": "load_trace",
    "results.comparison": "analyse bundle replay",
    "results.config": "AnalysisConfig VisualizeConfig",
    "results.drawing": "visualize",
    "results.manifest": "save",
    "saliency.advice": "advise_layers",
    "saliency.explanation": "explain",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'spade_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"spade_core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
