"""What the worker does: the kinds of jobs, from a JSON-able payload to files.

Each task takes its payload and ``emit`` (hands a partial result to whoever waits), ``progress`` (also the place where a
cancel gets in) and ``device``; it returns the result's files. Models stay loaded between jobs, a few at a time. A kind
is imported when the first job of it comes: who waits for maps does not wait for what draws neurons.
"""

import importlib

from spade_core.compiler import without_the_compiler

_NAMES = {  # module -> its kinds of jobs
    "folders": "folder",
    "inspection": "compare curve inspect",
    "interventions": "intervene knockout redraw",
    "neurons": "layers multifaceted ranking references visualization",
    "saliency": "analysis describe",
    "study": "study_bots study_dry_run study_power",
}
HOMES = {kind: f"{__name__}.{module}" for module, kinds in _NAMES.items() for kind in kinds.split()}
"""Kind of job -> the module that has its function."""


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def warm_up(device: str) -> None:
    """Import what every job needs, and load the default model, before the first job asks for them."""
    with without_the_compiler():  # a worker is waited for
        import timm
        import torchvision.transforms.v2

    from spade_core.models.registry import DEFAULT_MODEL
    from spade_core.tasks.common import given_model

    given_model({"name": DEFAULT_MODEL}, device)
    importlib.import_module(HOMES["describe"])  # what whoever opens a page asks first


def rest(device: str) -> None:
    """Give back what a GPU's allocator keeps."""
    import torch

    torch.cuda.empty_cache()
