"""What each benchmark does with one picture, from the bytes of its file to its scores.

A picture's work depends on the configuration and on the picture alone: whatever is drawn comes of the run's seed and
the picture's sha256. So it is the same in whichever order, process or machine it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch

from spade_core.errors import ModelError, PictureError
from spade_core.evaluation.arms import ARMS, Arm
from spade_core.evaluation.baselines.replacement import Replacement
from spade_core.evaluation.benchmarks import DEPTHS
from spade_core.evaluation.configuration import NETWORK, Configuration, seed_of
from spade_core.evaluation.maps import NONE, Prepared, Subject, prepare
from spade_core.evaluation.metrics import energy_in_mask, insertion_deletion, rank_correlation
from spade_core.evaluation.records import Record
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel, predict
from spade_core.models.registry import TROJAN_MODEL
from spade_core.pictures.picture import Picture, load_picture
from spade_core.progress import Progress, silent, span
from spade_core.pruning.sparsity import stage_of, stages
from spade_core.results.manifest import threads
from spade_core.saliency.metrics import pointing_game, trojan_auc
from spade_core.trojan.paste import paste
from spade_core.trojan.triggers import TRIGGERS

EVERY = 4  # px between the pixels whose ranks are compared
NOT_CAUSED = "the trigger did not cause the prediction"


@dataclass(frozen=True, eq=False)
class Case:
    """One picture under one configuration.

    Attributes:
        subject: what is explained; trigger: name of what was pasted into it, or empty, and its mask, bool
            ``(height, width)``.
        probability: what the dense model gives the explained class.
        shared: by the arm's slug, what one that is made of a folder replaces.
    """

    configuration: Configuration
    subject: Subject
    trigger: str
    mask: np.ndarray
    probability: float
    shared: Mapping[str, Replacement] = field(default_factory=dict)

    def prepare(self, arm: Arm, progress: Progress = silent) -> Prepared:
        """Make what an arm explains."""
        return prepare(arm, self.subject, self.configuration, progress, self.shared)

    def maps(self, prepared: Prepared, progress: Progress = silent) -> list[list[np.ndarray]]:
        """Return the maps, ``(height, width)`` each: a list a method, of a map a processing."""
        chosen = self.configuration
        prepared.made.update(
            (method, list(prepared.maps(method, chosen.processing, progress))) for method in chosen.methods
        )
        return [prepared.made[method] for method in chosen.methods]


Protocol: TypeAlias = Callable[[Case, Prepared, Progress], np.ndarray]
"""Returns the scores of an arm, float64 ``(methods, processing, metrics)``."""


def measure(
    model: LoadedModel,
    configuration: Configuration,
    name: str,
    data: bytes,
    progress: Progress = silent,
    shared: Mapping[str, Replacement] = NONE,
    on_arm: Callable[[Prepared], object] = lambda _: None,
) -> Record:
    """Return the record of one picture.

    Args:
        name: of its file; data: the file's bytes, which are not trusted: what is no picture is skipped, with a reason.
        shared: what each arm that is made of a folder replaces.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        on_arm: called with each arm's networks once its maps are scored.
    """
    try:
        picture = load_picture(data, name=name)
        with threads(configuration.threads):
            case = case_of(model, configuration, picture)
            if case is None:
                return Record(name, picture.sha256, skipped=NOT_CAUSED)
            columns = zip(*_arms(replace(case, shared=shared), progress, on_arm), strict=True)
    except (PictureError, ModelError) as error:  # no picture, or one that the model has no finite answer to
        return Record(name, skipped=str(error))
    scores, outcomes, seconds, probability = map(np.array, columns)
    label = model.labels[case.subject.target]
    return Record(name, picture.sha256, case.trigger, "", scores, outcomes, seconds, label, probability)


def _arms(
    case: Case, progress: Progress, on_arm: Callable[[Prepared], object]
) -> list[tuple[np.ndarray, tuple[float, float, float], list[float], float]]:
    """Return scores, outcomes, seconds and the class's probability of each arm."""
    chosen, found = case.configuration, []
    for index, arm in enumerate(chosen.arms):
        ends = [(index + part) / len(chosen.arms) for part in (0, 0.3, 1)]
        prepared = case.prepare(ARMS[arm], span(progress, *ends[:2]))
        scores = PROTOCOLS[chosen.benchmark](case, prepared, span(progress, *ends[1:]))
        seconds = [prepared.seconds[part] for part in (NETWORK, *chosen.methods)]
        on_arm(prepared)
        found.append((scores, prepared.outcomes, seconds, prepared.probability(case.probability)))
    return found


def case_of(model: LoadedModel, configuration: Configuration, picture: Picture) -> Case | None:
    """Return what is explained, or None where a trigger was pasted and did not cause the prediction.

    A backdoored model is shown triggered pictures, but for its faithfulness: that is asked on pictures as they are. A
    picture's trigger, its place and size are drawn.
    """
    seed = seed_of(configuration.seed, picture.sha256)
    answer = predict(model, picture)
    clean = int(answer.argmax())
    if configuration.benchmark == "faithfulness" or (
        configuration.benchmark != "trojan" and model.name != TROJAN_MODEL
    ):
        return Case(configuration, Subject(model, picture, clean, seed), "", np.empty(0, bool), float(answer[clean]))
    trigger = list(TRIGGERS.values())[seed % len(TRIGGERS)]
    triggered, mask = paste(picture, trigger, seed=seed, model=model)
    answer = predict(model, triggered)
    if clean == trigger.target or answer.argmax() != trigger.target:
        return None
    subject = Subject(model, triggered, trigger.target, seed)
    return Case(configuration, subject, trigger.name, mask, float(answer[trigger.target]))


def trojan(case: Case, prepared: Prepared, progress: Progress) -> np.ndarray:
    """Score the maps' magnitudes against the trigger's mask (SPADE, section 4.1).

    A signed map's evidence against the class is a use of the pixel, too.
    """

    def judge(values: np.ndarray) -> list[float]:
        strength = np.abs(values)
        hit = pointing_game(strength, case.mask)
        return [trojan_auc(strength, case.mask), 100.0 * hit, energy_in_mask(strength, case.mask)]

    return _judged(case.maps(prepared, progress), judge)


def faithfulness(case: Case, prepared: Prepared, progress: Progress) -> np.ndarray:
    """Insert and delete pixels in the order of the maps' values on the dense model (Petsiuk et al. 2018)."""
    subject = case.subject
    x = subject.model.input(subject.picture)

    def judge(values: np.ndarray) -> list[float]:
        output = subject.model.output
        curves = insertion_deletion(subject.model.module, x, values, subject.target, output=output, progress=progress)
        gain, loss = curves.insertion_auc, curves.deletion_auc
        return [gain - loss, gain, loss]

    return _judged(case.maps(prepared, progress), judge)


def sanity(case: Case, prepared: Prepared, progress: Progress) -> np.ndarray:
    """Correlate the intact model's maps with those of the model as its weights are redrawn (Adebayo et al. 2018).

    Cascading: the last stages first. An arm is made anew of the redrawn model, for the intact one's class, so that what
    steers its traces is the redrawn model's relevance, too.
    """
    redrawn = [replace(case.subject, model=randomized(case.subject, depth)) for depth in DEPTHS]
    return _correlations(case, prepared, redrawn, progress)


def sanity_steered(case: Case, prepared: Prepared, progress: Progress) -> np.ndarray:
    """Correlate as :func:`sanity` does, with the intact model's relevance steering the redrawn model's traces.

    What is left of the intact map then comes of the steering alone.
    """
    intact = case.subject.model
    redrawn = [replace(case.subject, model=randomized(case.subject, depth), steered_by=intact) for depth in DEPTHS]
    return _correlations(case, prepared, redrawn, progress)


def stability(case: Case, prepared: Prepared, progress: Progress) -> np.ndarray:
    """Correlate the maps of two seeds, by which views, a bundle's traces, noise and methods' samples are drawn."""
    other = replace(case.subject, seed=seed_of(case.subject.seed, "another"))
    return _correlations(case, prepared, [other], progress)


PROTOCOLS: dict[str, Protocol] = {
    one.__name__: one for one in (trojan, faithfulness, sanity, sanity_steered, stability)
}


def randomized(subject: Subject, depth: int) -> LoadedModel:
    """Return a copy whose last stages have normal weights of the same mean and spread; the model is not changed.

    Args:
        depth: how many of the stages, in percent, at least one. Biases and batch norms stay.
    """
    model = subject.model
    known = stages(model.layers, model.family)
    chosen = known[-max(1, round(len(known) * depth / 100)) :]
    layers = [layer for layer in model.layers if stage_of(layer.name, model.family) in chosen]
    module = share_copy(model.module, own={layer.parameter for layer in layers})
    generator = torch.Generator().manual_seed(subject.seed)
    with torch.no_grad():
        for layer in layers:
            weight = module.get_parameter(layer.parameter)
            drawn = torch.randn(weight.shape, generator=generator)
            weight.copy_(weight.mean() + weight.std() * drawn.to(weight))
    return replace(model, module=module)


def _judged(maps: list[list[np.ndarray]], judge: Callable[[np.ndarray], list[float]]) -> np.ndarray:
    return np.array([[judge(values) for values in of_method] for of_method in maps])


def _correlations(case: Case, prepared: Prepared, others: list[Subject], progress: Progress) -> np.ndarray:
    """Return the rank correlations of the maps' magnitudes with those of each other subject, on every fourth pixel."""
    again = (replace(case, subject=other).prepare(prepared.arm, progress) for other in others)
    first, *rest = (case.maps(one, progress) for one in (prepared, *again))
    shape = len(case.configuration.methods), len(case.configuration.processing)
    return np.array(
        [[[_correlation(first[m][p], other[m][p]) for other in rest] for p in range(shape[1])] for m in range(shape[0])]
    )


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    return rank_correlation(*(np.abs(values)[::EVERY, ::EVERY] for values in (first, second)))
