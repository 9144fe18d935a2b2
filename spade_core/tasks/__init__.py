"""What the worker does: the kinds of jobs, from a JSON-able payload to files.

Each task takes its payload and ``emit`` (hands a partial result to whoever waits), ``progress`` (also the place where a
cancel gets in) and ``device``; it returns the result's files. Models stay loaded between jobs, a few at a time.
"""

import torch

from spade_core.compiler import without_the_compiler

with without_the_compiler():  # a worker is waited for
    import timm
    import torchvision.transforms.v2

from spade_core.models.registry import DEFAULT_MODEL
from spade_core.tasks.common import given_model
from spade_core.tasks.folders import folder
from spade_core.tasks.inspection import compare, curve, inspect
from spade_core.tasks.interventions import intervene, knockout, redraw
from spade_core.tasks.neurons import layers, multifaceted, ranking, references, visualization
from spade_core.tasks.saliency import analysis, describe
from spade_core.tasks.study import study_bots, study_dry_run, study_power


def warm_up(device: str) -> None:
    """Load the default model before the first job asks for it."""
    given_model({"name": DEFAULT_MODEL}, device)


def rest(device: str) -> None:
    """Give back what a GPU's allocator keeps."""
    torch.cuda.empty_cache()
