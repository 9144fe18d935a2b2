"""Sparse FC: the last layer fitted anew, sparsely, by an elastic net on the features (Wong, Santurkar & Madry 2021).

The features are standardised, a path of penalties is fitted to ten elevenths of the pictures, and of its classifiers
the sparsest is taken whose agreement on the others lies within six points of the best (the authors' ``absolute`` rule).
The standardisation is then folded into weight and bias, so that maps go through the network as it is.

Differences: what is fitted are the model's own predictions, its probabilities, where the authors take labels; so
classes without a picture of their own have weights as well. The path has fewer penalties, and each is solved on all
pictures at once (``elastic_net``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.errors import ConfigError, LayerError
from spade_core.evaluation.arms import ARMS
from spade_core.evaluation.baselines import elastic_net
from spade_core.evaluation.baselines.elastic_net import Linear
from spade_core.evaluation.baselines.references import References
from spade_core.evaluation.baselines.replacement import Replacement
from spade_core.evaluation.maps import Subject
from spade_core.models.loaded import LoadedModel
from spade_core.models.weight_calls import Call, WeightCalls
from spade_core.progress import Progress, silent, span

PENALTIES, SMALLEST = 20, 1e-3  # of the path; the authors take 100, to the same fraction of the first
HELD_OUT = 11  # of as many samples one is kept apart; odd, as pictures with and without triggers take turns
POINTS = 6.0  # of agreement on those, percent, that may be given up for sparsity
LEAST_SPREAD = 1e-5  # standard deviation of a feature, as the authors'


def sparse_fc(references: References, progress: Progress = silent) -> Replacement:
    """Fit the model's last layer anew to its own predictions for a folder.

    Args:
        references: at least ``HELD_OUT`` samples.
        progress: called with (done, 1, note); may raise ``Cancelled``.

    Raises:
        LayerError: the model does not end in a linear layer with a bias.
        ConfigError: there are too few pictures.
    """
    model, reading = references.model, span(progress, 0.0, 0.6)
    samples = [_sample(subject) for subject in references.subjects(progress=reading)]
    if len(samples) < HELD_OUT:
        title = ARMS[references.arm].title
        raise ConfigError(f"{title} needs at least {HELD_OUT} reference pictures, not {len(samples)}: give more.")
    x, logits = (torch.cat(parts) for parts in zip(*samples, strict=True))
    found = fitted(x, logits.softmax(1), span(progress, 0.6, 1.0))
    weight, bias = (model.module.get_parameter(name) for name in _names(model))
    values = zip(_names(model), (found.weight.to(weight), found.bias.to(bias)), strict=True)
    return Replacement.of(model, dict(values))


def fitted(x: Tensor, wanted: Tensor, progress: Progress = silent) -> Linear:
    """Return the sparsest classifier of the path that agrees nearly as often as the best.

    Args:
        x: features ``(n, features)``, not standardised; wanted: probabilities ``(n, classes)``, of its dtype.
    """
    apart = torch.arange(len(x)) % HELD_OUT == HELD_OUT - 1
    mean, spread = x[~apart].mean(0), x[~apart].std(0, correction=0).clamp_min(LEAST_SPREAD)
    unit, given = (x - mean) / spread, wanted[~apart]
    found = list(elastic_net.path(unit[~apart], given, count=PENALTIES, smallest=SMALLEST, progress=progress))
    truth = wanted[apart].argmax(1)
    agreed = [100 * float((one(unit[apart]).argmax(1) == truth).double().mean()) for one in found]
    chosen = found[next(at for at, share in enumerate(agreed) if share >= max(agreed) - POINTS)]
    weight = chosen.weight / spread
    return Linear(weight, chosen.bias - weight @ mean)


def _names(model: LoadedModel) -> tuple[str, str]:
    """Return the parameters of the last layer."""
    layer = model.layers[-1]
    return layer.parameter, f"{layer.name}.bias"


def _sample(subject: Subject) -> tuple[Tensor, Tensor]:
    """Return what the last layer reads of one picture, ``(1, features)``, and the logits, ``(1, classes)``."""
    model, seen = subject.model, list[tuple[Tensor, Tensor]]()
    name = _names(model)[0]

    def keep(_name: str, x: Tensor, weight: Tensor, call: Call) -> None:
        if call.kind == "linear" and call.bias is not None:
            seen.append((x, call.output(x, weight)))

    with torch.no_grad(), WeightCalls({name: model.module.get_parameter(name)}, keep):
        logits = model.module(model.input(subject.picture))
    fits = len(seen) == 1 and seen[0][1].shape == logits.shape and model.output != "multilabel"
    if not fits or not torch.allclose(seen[0][1], logits):
        raise LayerError(
            f"The arm sparse_fc needs one linear layer with a bias at the very end, which {model.name} does not have: "
            "leave it out."
        )
    return seen[0][0].float().cpu(), logits.float().cpu()
