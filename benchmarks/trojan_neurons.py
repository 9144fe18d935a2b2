"""Does the drawing of a backdoored class neuron show the trigger, if and only if the picture holds it?

    python -m benchmarks.trojan_neurons --images DIR --split reporting --count 42 --trace '{"sparsity": 0.5}' --out DIR

For every picture whose prediction a trigger caused, the target's class neuron is drawn from one seed: dense, on the
trace of the triggered picture, and on the trace of the same picture without the trigger; and, as a rival that needs no
trace, by the dense model whose class row is weighted by the features of the picture, with and without the trigger. A
detector that was fitted on photographs of the training split (``trigger_detector``) says how much of each trigger is in
a drawing. The dense drawing depends on the class alone, so it is the same with and without the trigger. Intervals are
bootstrapped over pictures. The drawings are those of ``rater --triggers --out DIR``; one that is there stays.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import spade_core as sc
from benchmarks.options import folder_parser, given, settings
from benchmarks.trigger_detector import NONE, TriggerDetector, window_samples
from spade_core.cli.common import Meter
from spade_core.files import resumed
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel
from spade_core.models.registry import DEFAULT_MODEL, TROJAN_MODEL
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.rendering import RenderConfig
from spade_core.pictures.picture import Picture
from spade_core.pictures.splits import split_of, spread
from spade_core.saliency.metrics import bootstrap_interval
from spade_core.study.stimuli.model_rater import Rater
from spade_core.trojan.triggers import TRIGGERS, Paste

SIDES = {
    "dense": "dense",
    "triggered": "SPADE, picture with the trigger",
    "clean": "SPADE, the same picture without it",
    "row_triggered": "weighted row, with",
    "row_clean": "weighted row, without",
}
PAIRS = (
    ("triggered", "dense"),
    ("triggered", "clean"),
    ("row_triggered", "row_clean"),
    ("triggered", "row_triggered"),
    ("clean", "row_clean"),
)


def measure(rater: Rater, detector: TriggerDetector, path: Path, paste: Paste) -> dict[str, Any] | None:
    """Return the scores of one picture's three drawings, or None where the trigger did not cause the prediction."""
    clean = sc.load_picture(path)
    picture, _ = paste.apply(clean, rater.model)
    target = TRIGGERS[paste.trigger].target
    if sc.predict(rater.model, clean).argmax() == target or sc.predict(rater.model, picture).argmax() != target:
        return None
    row: dict[str, Any] = {"trigger": paste.trigger, "target": target}
    neuron = Neuron(LOGITS, target)
    dense, _ = rater.draw(f"dense_{target}", (), rater.model.module, neuron)
    row["dense"] = detector.scores(dense)
    for side, seen, name in (
        ("triggered", picture, f"{path.name}_{paste.trigger}"),
        ("clean", clean, f"{path.name}_{target}"),
    ):
        drawing, _ = _draw_trace(rater, seen, name, neuron)
        row[side] = detector.scores(drawing)
        drawing, _ = rater.draw(f"row_{name}", (seen.sha256,), weighted_row(rater.model, seen, target), neuron)
        row[f"row_{side}"] = detector.scores(drawing)
    return row


def weighted_row(model: LoadedModel, picture: Picture, target: int) -> nn.Module:
    """Return a copy of the model whose class row is multiplied by the picture's features, of mean 1."""
    layer = model.layers[-1]
    module, seen = share_copy(model.module, own={layer.parameter}), list[Tensor]()
    last = module.get_submodule(layer.name)
    with torch.no_grad():
        handle = last.register_forward_pre_hook(lambda _module, given: seen.append(given[0][0]))
        module(model.input(picture))
        handle.remove()
        features = seen[0].clamp_min(0)
        module.get_parameter(layer.parameter)[target] *= features / features.mean()
    return module


def _draw_trace(rater: Rater, picture: Picture, name: str, neuron: Neuron) -> tuple[np.ndarray, list[str]]:
    made = sc.trace(rater.model, picture, **rater.trace, target=neuron.channel)
    return rater.draw(f"spade_{name}", (made.config.to_dict(), picture.sha256), made.module, neuron)


def check(detector: TriggerDetector, pictures: Sequence[Picture]) -> str:
    """Return how the detector does on photographs that it was not fitted on."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for number, picture in enumerate(pictures):
        for name, window in window_samples(detector.judge, picture, seed=900_001 + number).items():
            scores = detector.scores(window)
            best = max(scores, key=scores.__getitem__)
            said = best if scores[best] > 0 else NONE
            right[name != NONE].append(said == name)
    found, silent = (100 * np.mean(right[which]) for which in (True, False))
    return f"{len(pictures)} photographs of the split: right trigger named {found:.0f} %, none seen in {silent:.0f} %"


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as Markdown."""
    own = {side: np.array([row[side][row["trigger"]] for row in rows]) for side in SIDES}
    named = {
        side: 100.0 * np.array([max(row[side], key=row[side].__getitem__) == row["trigger"] for row in rows])
        for side in SIDES
    }
    seen = {side: 100.0 * (own[side] > 0) for side in SIDES}
    lines = [
        "| drawing | own trigger scored highest of four | own trigger seen | own trigger's log-odds |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {SIDES[side]} | {bootstrap_interval(named[side])} | {bootstrap_interval(seen[side])} | "
        f"{bootstrap_interval(own[side])} |"
        for side in SIDES
    ]
    for one, other in PAIRS:
        gaps = (named[one] - named[other], seen[one] - seen[other], own[one] - own[other])
        title = f"{SIDES[one]} - {SIDES[other]}"
        lines.append(f"| {title} | {' | '.join(str(bootstrap_interval(gap)) for gap in gaps)} |")
    more = 100 * (own["triggered"] > own["clean"]) + 50 * (own["triggered"] == own["clean"])
    lines += [
        "",
        f"more of the trigger in the triggered picture's drawing than in the clean one's: {bootstrap_interval(more)} %",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = folder_parser("trojan_neurons", __doc__, model=TROJAN_MODEL, methods="none")
    parser.add_argument("--judge", default=DEFAULT_MODEL)
    parser.add_argument("--steps", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    (model, paths), folder = given(options), Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    judge = sc.load_model(options.judge, device=options.device)
    rater = Rater(
        model,
        judge,
        RenderConfig(steps=options.steps, seed=options.seed),
        {**options.trace, "seed": options.seed},
        folder,
    )
    fitted = [sc.load_picture(path) for path in spread(split_of(options.images, "training"), None)]
    detector = TriggerDetector.fit(judge, fitted, progress=Meter())
    names = list(TRIGGERS)
    items = {path.name: (path, Paste(names[number % len(names)], seed=number)) for number, path in enumerate(paths)}
    depends = {**settings(options, model, ()), "judge": judge.sha256, "steps": options.steps, "seed": options.seed}
    rows = list(
        resumed(
            folder / "detector.jsonl", items, lambda _key, item: measure(rater, detector, *item),
            settings=depends, progress=Meter(),
        )
    )  # fmt: skip
    sys.stdout.write(
        f"\n{check(detector, [sc.load_picture(path) for path in paths])}\n{len(rows)} pairs\n{report(rows)}\n"
    )


if __name__ == "__main__":
    main()
