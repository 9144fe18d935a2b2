"""Build a stimulus set from a model and pictures (SPADE, section 4.3).

For each picture: the class, the reference map (a trigger's mask, else Score-CAM on the dense model), two equal regions
by the rule of :mod:`spade_core.study.stimuli.regions`, and the class neuron drawn from the dense model and from the
picture's trace with the same seed, steps, transforms and size; on request also the natural pictures that excite it
most. Which region is the more central one is settled last, over the whole set (:mod:`spade_core.study.balance`).
Nothing is chosen by eye, and an item is left out only by rules that do not know of conditions. Practice and catch items
show an enlarged cut of the reference region in place of a visualization: easy, and the same for every condition.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spade_core.errors import ConfigError, PictureError
from spade_core.models.loading import LoadedModel, predict
from spade_core.neurons import LOGITS, Neuron, RenderConfig, render
from spade_core.pictures.picture import Picture, load_picture
from spade_core.progress import Progress, silent
from spade_core.pruning.spade import trace
from spade_core.resumable import resumed
from spade_core.saliency import explain
from spade_core.saliency.metrics import trojan_auc
from spade_core.study.balance import Draft, settle
from spade_core.study.crops import References
from spade_core.study.placing import place_trigger
from spade_core.study.stimuli.patches import Patches
from spade_core.study.stimuli.rater import rate
from spade_core.study.stimuli.regions import RULES, Choice, choose_regions, rule_record
from spade_core.study.stimuli.stimulus_set import Box, Item, StimulusSet, opposite, write_manifest
from spade_core.trojan import TRIGGERS
from spade_core.trojan.paste import Paste

QUALITY = 90  # of WebP; the same for all conditions
CENTRAL = (0.4, 0.6)  # share of items whose reference is the more central patch: outside, guessing has a handle
CLEARLY = 0.1  # difference of eccentricities that a person may see: 11 px of 224 between the distances
USED = "another item shows this class neuron"
UNREADABLE = "its file is no picture that can be read"


@dataclass(frozen=True)
class Candidate:
    """A picture that may become an item.

    Attributes:
        path: file or ``bundled:NAME``; picture_id: names the photograph; credit: author, licence, source.
        role: ``main``, ``practice`` or ``catch``; rank: which of the dense model's classes, 0 the most probable.
        paste: a trigger to lay into it; the item counts only if the trigger causes the prediction.
    """

    path: str
    picture_id: str
    role: str = "main"
    rank: int = 0
    paste: Paste | None = None
    credit: Mapping[str, str] | None = None

    def key(self, sha256: str | None) -> str:
        """Return what tells this candidate from others, its picture's content included."""
        paste = json.dumps(asdict(self.paste)) if self.paste else ""
        return "|".join([self.role, self.picture_id, str(self.rank), paste, sha256 or "unreadable"])


def identity(path: str | Path) -> str | None:
    """Return the sha256 of a picture's bytes; None: it cannot be read as a picture."""
    try:
        return load_picture(path).sha256
    except PictureError:
        return None


def plan(
    paths: Sequence[Path], *, practice: int, catch: int, triggers: Sequence[str] = (), side: int = 224
) -> list[Candidate]:
    """Return candidates of a folder's pictures: the first ones practice and catch, the others main.

    Args:
        triggers: each pasted into one of the first main pictures, as each has one class; the others stay as they are.
        side: of the model's input, px.
    """
    roles = (["practice"] * practice + ["catch"] * catch + ["main"] * len(paths))[: len(paths)]
    pastes = iter([place_trigger(trigger, number, side=side) for number, trigger in enumerate(triggers)])
    stems = Counter(path.stem for path in paths)
    return [
        Candidate(
            str(path), path.stem if stems[path.stem] == 1 else path.name, role,
            paste=next(pastes, None) if role == "main" else None,
        )
        for path, role in zip(paths, roles, strict=True)
    ]  # fmt: skip


@dataclass(frozen=True)
class Builder:
    """Drafts the items of one model in one folder.

    Attributes:
        model: whose class neurons are shown; judge: whose embedding is the model rater's.
        config: how to draw, its seed fixed before; trace: options of ``spade_core.trace``.
        folder: the set's; references: for the condition ``reference``, None: without it.
    """

    model: LoadedModel
    judge: LoadedModel
    config: RenderConfig
    trace: Mapping[str, Any]
    folder: Path
    references: References | None = None

    def drafts(
        self, candidates: Sequence[Candidate], *, rows: Path, progress: Progress = silent
    ) -> Iterator[tuple[Draft | None, str]]:
        """Yield each candidate's draft, or None and the rule that left it out; ``rows`` lets a stopped run go on."""
        settings = {
            "model": self.model.sha256, "judge": self.judge.sha256, "drawing": self.config.to_dict(),
            "trace": dict(self.trace), "quality": QUALITY, "regions": rule_record(),
        }  # fmt: skip
        if self.references is not None:
            settings["references"] = self.references.state()
        used: set[int] = set()

        def measure(_key: str, candidate: Candidate) -> dict[str, Any]:
            return self._row(candidate, used)

        by_key = {f"{self.model.name}|{candidate.key(identity(candidate.path))}": candidate for candidate in candidates}
        for kept in resumed(rows, by_key, measure, settings=settings, progress=progress):
            row = self._still(kept, by_key[kept["key"]], used)
            if row["draft"] is None:
                yield None, row["dropped"]
                continue
            draft = Draft.from_dict(row["draft"])
            used.add(_class_of(draft.item.class_neuron))
            yield draft, ""

    def _still(self, row: dict[str, Any], candidate: Candidate, used: set[int]) -> dict[str, Any]:
        """Return a row as it is with these candidates: others may have come before it, or gone, since it was kept."""
        if row["draft"] is not None and _class_of(Draft.from_dict(row["draft"]).item.class_neuron) in used:
            return _left_out(USED)
        if row.get("dropped") == USED and row["class"] not in used:
            return self._row(candidate, used)
        return row

    def _row(self, candidate: Candidate, used: set[int]) -> dict[str, Any]:
        try:
            clean = load_picture(candidate.path)
        except PictureError:
            return _left_out(UNREADABLE)
        picture, mask = (clean, None) if candidate.paste is None else candidate.paste.apply(clean, self.model)
        order = np.argsort(-predict(self.model, picture), kind="stable")
        target = int(order[candidate.rank])
        if candidate.paste is not None:
            wanted = TRIGGERS[candidate.paste.trigger].target
            if target != wanted or int(predict(self.model, clean).argmax()) == wanted:
                return _left_out("the trigger does not cause the prediction")
        if target in used:
            return {**_left_out(USED), "class": target}
        scorecam = explain(self.model, picture, method="scorecam", target=target).map
        reference = scorecam if mask is None else mask.astype(np.float32)
        if reference.max() <= reference.min():
            return _left_out("its reference map is flat")
        source = "scorecam" if mask is None else "trigger"
        choices = choose_regions(reference, self.model.preprocessing.crop(picture), RULES[source])
        key = _short(f"{self.model.sha256}|{candidate.key(clean.sha256)}|{target}")
        found = {} if mask is None else {"scorecam": {"trojan_auc": trojan_auc(scorecam, mask)}}
        return {"draft": self._draft(key, candidate, target, picture, choices, found).to_dict()}

    def _draft(
        self, key: str, candidate: Candidate, target: int, picture: Picture, choices: Mapping[str, Choice],
        measured: Mapping[str, Mapping[str, float]],
    ) -> Draft:  # fmt: skip
        pixels = self.model.preprocessing.crop(picture)
        cuts = {side: choice.patches.cut(pixels) for side, choice in choices.items()}
        files = {"picture": self._write(f"{key}_p", pixels)}
        keeps: bool | None = None
        sources: dict[str, str] = {}
        raters: dict[str, dict[str, str]] = {side: {} for side in choices}
        if candidate.role == "main":
            images, keeps = self._visualizations(picture, target)
            if self.references is not None:
                images["reference"], sources = self.references.of(self.model, target, self.config.size)
            for kind, image in images.items():
                files["references" if kind == "reference" else kind] = self._write(f"{key}_{kind[0]}", image)
                for side, cut in cuts.items():
                    raters[side][f"rater_{kind}"] = "reference" if rate(self.judge, image, cut) > 0 else "other"
        else:  # the reference is the same, whichever region is the nearer one
            files["shown"] = self._write(f"{key}_s", _enlarged(next(iter(cuts.values()))[0], self.config.size))
        size = pixels.shape[0]
        items = {
            side: Item(
                key, candidate.role, candidate.picture_id, f"{self.model.name}:{target}", self.model.labels[target],
                self.model.name, "scorecam" if candidate.paste is None else "trigger", keeps, files,
                _regions(choice.patches, size), {**_answers(choice.patches, size), **raters[side]},
                {**_measures(choice.patches, size), **measured}, candidate.credit or {}, sources,
            )
            for side, choice in choices.items()
        }  # fmt: skip
        return Draft(items, {side: choice.cost for side, choice in choices.items()})

    def _visualizations(self, picture: Picture, target: int) -> tuple[dict[str, np.ndarray], bool]:
        made = trace(self.model, picture, **self.trace, target=target)
        networks = {"dense": self.model.module, "spade": made.module}
        found = render(self.model, networks, [Neuron(LOGITS, target)], self.config)
        return {side: found[side][0].image for side in networks}, made.fidelity.keeps_class

    def _write(self, name: str, pixels: np.ndarray) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, format="WEBP", quality=QUALITY, method=6)  # no metadata
        (self.folder / f"{name}.webp").write_bytes(out.getvalue())
        return f"{name}.webp"


def finish(
    folder: Path, drafts: Sequence[Draft], *, demo: bool, title: str, settings: Mapping[str, Any],
    dropped: Sequence[str],
) -> StimulusSet:  # fmt: skip
    """Settle the drafts and write the manifest with its report: what was left out by which rule, how regions differ.

    Raises:
        ConfigError: no main item is left, or a file is missing.
    """
    items = settle(drafts)
    if not any(item.role == "main" for item in items):
        why = f" (left out: {'; '.join(sorted(set(dropped)))})" if dropped else ""
        raise ConfigError(f"No picture became a main item{why}: give more pictures, or lower --practice and --catch.")
    share = central_share(items)
    report = {
        "central_share": share,
        "clearly_central_share": clearly_central_share(items),
        "one_side_only": sum(len(draft.items) == 1 for draft in drafts if draft.item.role == "main"),
        "measures": {side: _mean_measures(items, side) for side in ("reference", "other")},
        "rater_agrees": {
            side: _share(items, f"rater_{side}") for side in ("dense", "spade", "reference")
            if any(f"rater_{side}" in item.answers for item in items)
        },
        "scorecam_finds_trigger": _mean_auc(items),
        "class_lost": sum(item.keeps_class is False for item in items),
        "warning": None if CENTRAL[0] <= share <= CENTRAL[1] else (
            f"The more central patch is the reference in {share:.0%} of the main items: who always answers it does "
            "better or worse than guessing. Take more or other pictures."
        ),
    }  # fmt: skip
    counts = {rule: list(dropped).count(rule) for rule in sorted(set(dropped))}
    about = {
        "title": title, "settings": {**settings, "regions": rule_record()}, "dropped": counts, "report": report,
    }  # fmt: skip
    return write_manifest(folder, items, demo=demo, about=about)


def _left_out(rule: str) -> dict[str, Any]:
    return {"draft": None, "dropped": rule}


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _class_of(class_neuron: str) -> int:
    return int(class_neuron.rsplit(":", 1)[1])


def central_share(items: Sequence[Item]) -> float:
    """Return in which share of the main items the reference is the more central of the two patches."""
    return _share(items, "central")


def clearly_central_share(items: Sequence[Item]) -> float:
    """Return how often a person is right who takes the clearly more central region, and guesses where none is."""
    right = []
    for item in items:
        if item.role == "main":
            gap = item.measures["other"]["eccentricity"] - item.measures["reference"]["eccentricity"]
            right.append(0.5 if abs(gap) <= CLEARLY else float(gap > 0))
    return sum(right) / len(right)


def _share(items: Sequence[Item], baseline: str) -> float:
    found = [
        item.answers[baseline] == "reference" for item in items if baseline in item.answers and item.role == "main"
    ]
    return sum(found) / len(found) if found else float("nan")


def _mean_measures(items: Sequence[Item], side: str) -> dict[str, float]:
    rows = [item.measures[side] for item in items if item.role == "main"]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]} if rows else {}


def _mean_auc(items: Sequence[Item]) -> float | None:
    """Return the mean Trojan AUC of Score-CAM on the items whose reference is a trigger: how far it can be trusted."""
    found = [item.measures["scorecam"]["trojan_auc"] for item in items if "scorecam" in item.measures]
    return sum(found) / len(found) if found else None


def _regions(patches: Patches, size: int) -> dict[str, Box]:
    boxes = {"reference": patches.high, "other": patches.low}
    return {side: (left / size, top / size, patches.side / size) for side, (top, left) in boxes.items()}


def _measures(patches: Patches, size: int) -> dict[str, dict[str, float]]:
    half = (size - patches.side) / 2
    found = {}
    for side, (top, left), contrast in zip(
        ("reference", "other"), (patches.high, patches.low), patches.contrasts, strict=True
    ):
        eccentricity = float(np.hypot(top - half, left - half) / np.hypot(half, half))
        found[side] = {"eccentricity": eccentricity, "area": (patches.side / size) ** 2, "contrast": contrast}
    return found


def _answers(patches: Patches, size: int) -> dict[str, str]:
    measures = _measures(patches, size)
    reference, other = measures["reference"], measures["other"]
    return {
        "central": "reference" if reference["eccentricity"] <= other["eccentricity"] else opposite("reference"),
        "contrast": "reference" if reference["contrast"] >= other["contrast"] else opposite("reference"),
    }


def _enlarged(cut: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(cut).resize((size, size), Image.Resampling.BICUBIC))
