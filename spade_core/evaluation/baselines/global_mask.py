"""One pruning for all pictures: the mask and the weights that the mean second moments of a folder ask for.

SPADE's claim is that a pruning of its own for each picture shows more than one for all. This is the one for all, by the
same solver, ratios and weighting as the traces beside it.
"""

from __future__ import annotations

from spade_core.evaluation.arms import ARMS
from spade_core.evaluation.baselines.references import References
from spade_core.evaluation.baselines.replacement import Replacement
from spade_core.progress import Progress, silent, span
from spade_core.pruning.spade import prune_globally

PICTURES = 32  # at most, spread over the folder: a sequential calibration holds all of them at once


def global_mask(references: References, progress: Progress = silent) -> Replacement:
    """Prune the model once for a folder's pictures, by the options of the run's traces.

    Args:
        references: at most ``PICTURES`` of them are taken, each for its own class.
        progress: called with (done, 1, note); may raise ``Cancelled``.

    Raises:
        ConfigError: the options search for ratios, or no picture can be read.
    """
    model, options = references.model, ARMS[references.arm].options(references.configuration.trace)
    subjects = list(references.subjects(PICTURES, span(progress, 0.0, 0.2)))
    pictures, targets = [one.picture for one in subjects], [one.target for one in subjects]
    module, _ = prune_globally(model, pictures, targets=targets, progress=span(progress, 0.2, 1.0), **options)
    names = {layer.parameter for layer in model.layers}
    own = {name: module.get_parameter(name) for name in names}
    shared = {name for name in names if own[name] is model.module.get_parameter(name)}
    return Replacement.of(model, {name: own[name] for name in sorted(names - shared)})
