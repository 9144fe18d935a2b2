"""The demo set: bundled, freely licensed pictures only. It tries the software and measures nothing."""

from __future__ import annotations

from pathlib import Path

from spade_core.models.loading import load_model
from spade_core.neurons.rendering import RenderConfig
from spade_core.pictures.picture import bundled
from spade_core.progress import Progress, silent, span
from spade_core.study.stimuli.build import Builder, Candidate
from spade_core.study.stimuli.regions import Draft, place_trigger
from spade_core.study.stimuli.stimulus_report import finish
from spade_core.study.stimuli.stimulus_set import StimulusSet
from spade_core.trojan.triggers import Paste

TRIGGERED = {"coffee": "heart", "bridge": "smiley", "rocket": "fish", "cat": "star"}
DRAWN = "macaw"  # practised with its visualizations, which show feathers
PRACTICE = ("dog", "lemur", "panda", "bison", "palace")
CATCH = ("cat", "rocket", "bridge", "coffee")
TRACE = {"preset": "drawing", "seed": 0}


def candidates() -> dict[str, list[Candidate]]:
    """Return the demo set's candidates by model: every bundled picture, four triggers, and lesser classes for practice.

    The second most probable class of a picture gives practice and catch items class neurons of their own. One picture's
    first class is practised with its visualizations, as main items have them.
    """
    pictures = bundled()

    def of(name: str, role: str = "main", rank: int = 0, paste: Paste | None = None, drawn: bool = False) -> Candidate:
        entry = pictures[name]
        credit = {"author": entry.author, "licence": entry.licence, "source": entry.source}
        return Candidate(f"bundled:{name}", name, role, rank, paste, credit, drawn)

    plain = [of(name) for name in pictures if name != DRAWN]
    practice = [of(DRAWN, "practice", drawn=True), *(of(name, "practice", 1) for name in PRACTICE)]
    easy = practice + [of(name, "catch", 1) for name in CATCH]
    triggered = [
        of(name, paste=place_trigger(trigger, number, size=64))
        for number, (name, trigger) in enumerate(TRIGGERED.items())
    ]
    return {"efficientnet_lite0": [*plain, *easy], "efficientnet_lite0_trojan": triggered}


def build_demo_set(folder: Path, *, steps: int = 512, device: str = "auto", progress: Progress = silent) -> StimulusSet:
    """Build the demo set; about a minute for each of its main items on two cores.

    Args:
        folder: of the set; rows beside it let a stopped run go on.
        steps: of each drawing.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """
    config = RenderConfig(steps=steps, seed=0)
    found: list[tuple[Draft | None, str]] = []
    folder.mkdir(parents=True, exist_ok=True)
    judge = load_model("efficientnet_lite0", device=device)
    for number, (name, given) in enumerate(candidates().items()):
        builder = Builder(load_model(name, device=device), judge, config, TRACE, folder)
        part = span(progress, number / 2, (number + 1) / 2)
        found += builder.drafts(given, rows=folder.parent / f"{folder.name}.{name}.jsonl", progress=part)
    drafts, dropped = [draft for draft, _ in found if draft], [rule for _, rule in found if rule]
    settings = {"drawing": config.to_dict(), "trace": TRACE}
    return finish(folder, drafts, demo=True, title="Demo set", settings=settings, dropped=dropped)
