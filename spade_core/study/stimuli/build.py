"""Build a stimulus set from a model and pictures (SPADE, section 4.3).

For each picture: the class, the reference map (a trigger's mask, else Score-CAM on the dense model), two equal regions
by the rule of :mod:`spade_core.study.stimuli.regions`, and the class neuron drawn from the dense model and from the
picture's trace with the same seed, steps, transforms and size; on request also the natural pictures that excite it
most. Which region is the more central one is settled last, over the whole set (``regions.settle``). Nothing is chosen
by eye, and an item is left out only by rules that do not know of conditions. Practice and catch items show an enlarged
cut of the reference region in place of a visualization: easy, and the same for every condition.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spade_core.errors import ConfigError, PictureError
from spade_core.files import resumed
from spade_core.models.loaded import LoadedModel, predict
from spade_core.neurons import LOGITS, REFERENCES, Neuron
from spade_core.neurons.references import Crop, reference_crops
from spade_core.neurons.rendering import RenderConfig, render
from spade_core.pictures.picture import Picture, load_picture
from spade_core.pictures.splits import folder_state
from spade_core.progress import Progress, silent
from spade_core.pruning.spade import trace
from spade_core.saliency.explanation import explain
from spade_core.saliency.metrics import trojan_auc
from spade_core.study.stimuli.model_rater import causes, rate
from spade_core.study.stimuli.patches import Patches
from spade_core.study.stimuli.regions import RULES, Draft, Pair, choose_regions, place_trigger, rule_record
from spade_core.study.stimuli.stimulus_set import SIDES, Item
from spade_core.study.vocabulary import CONDITIONS
from spade_core.trojan.triggers import Paste

QUALITY = 90  # of WebP; the same for all conditions
CENTRAL = (0.4, 0.6)  # share of items whose reference is the more central patch: outside, guessing has a handle
CLEARLY = 0.1  # difference of eccentricities that a person may see: 11 px of 224 between the distances
ROWS, GAP = 3, 4  # of the reference crops: rows, and px between two, white
DRAWN_IN_PRACTICE = 2  # of the practice items, so that one remains where a rule drops the other
USED = "another item shows this class neuron"
UNREADABLE = "its file is no picture that can be read"


@dataclass(frozen=True)
class Candidate:
    """A picture that may become an item.

    Attributes:
        path: file or ``bundled:NAME``; picture_id: names the photograph; credit: author, licence, source.
        role: ``main``, ``practice`` or ``catch``; rank: which of the dense model's classes, 0 the most probable.
        paste: a trigger to lay into it; the item counts only if the trigger causes the prediction.
        drawn: whether an item for practice has visualizations as main items have, beside its enlarged cut.
    """

    path: str
    picture_id: str
    role: str = "main"
    rank: int = 0
    paste: Paste | None = None
    credit: Mapping[str, str] | None = None
    drawn: bool = False

    def key(self, sha256: str | None) -> str:
        """Return what tells this candidate from others, its picture's content included."""
        paste = json.dumps(asdict(self.paste)) if self.paste else ""
        role = f"{self.role}, drawn" if self.drawn else self.role
        return "|".join([role, self.picture_id, str(self.rank), paste, sha256 or "unreadable"])


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
            str(path),
            path.stem if stems[path.stem] == 1 else path.name,
            role,
            paste=next(pastes, None) if role == "main" else None,
            drawn=role == "practice" and number < DRAWN_IN_PRACTICE,
        )
        for number, (path, role) in enumerate(zip(paths, roles, strict=True))
    ]


@dataclass(frozen=True)
class References:
    """Where the condition ``reference`` has its pictures: the nine of a folder that excite a class neuron most.

    A picture that is itself in the study is passed over: its reference would show the very photograph that is asked
    about.

    Attributes:
        folder: of pictures; without: sha256 of pictures that are passed over, those of the study.
        keep_in: folder of the tables that make the next class neuron cost nothing.
    """

    folder: Path
    keep_in: Path
    without: Collection[str] = ()

    def state(self) -> str:
        """Return a digest of the folder: it changes when its pictures do.

        Raises:
            ConfigError: there is no such folder, or no picture in it.
        """
        return folder_state(self.folder)

    def of(self, model: LoadedModel, target: int, size: int) -> tuple[np.ndarray, dict[str, str]]:
        """Return the square of a class neuron, uint8 ``(size, size, 3)``, and each picture's sha256 by its file.

        Raises:
            ConfigError: too few pictures in the folder.
        """
        crops = reference_crops(model, self.folder, LOGITS, target, keep_in=self.keep_in, without=self.without)
        if len(crops) < REFERENCES:
            raise ConfigError(
                f"The folder {str(self.folder)!r} holds {len(crops)} pictures that are not in the study, and the "
                f"condition “reference” shows {REFERENCES}: put more there."
            )
        return montage(crops, size), {crop.file: crop.sha256 for crop in crops}


def montage(crops: list[Crop], size: int) -> np.ndarray:
    """Return nine crops in three rows, the strongest first, uint8 ``(size, size, 3)``."""
    side = (size - (ROWS - 1) * GAP) // ROWS
    sheet = np.full((size, size, 3), 255, np.uint8)
    for place, crop in enumerate(crops[: ROWS * ROWS]):
        top, left = (part * (side + GAP) for part in divmod(place, ROWS))
        small = Image.fromarray(np.ascontiguousarray(crop.pixels)).resize((side, side), Image.Resampling.BICUBIC)
        sheet[top : top + side, left : left + side] = np.asarray(small)
    return sheet


@dataclass(frozen=True)
class Drafted:
    """What became of a candidate: its draft, or the rule that left it out; target: the class where another shows it."""

    draft: Draft | None = None
    dropped: str = ""
    target: int | None = None

    def to_dict(self) -> dict[str, object]:
        """Return a row."""
        if self.draft is not None:
            return {"draft": asdict(self.draft)}
        return {"draft": None, "dropped": self.dropped} | ({} if self.target is None else {"class": self.target})

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Drafted:
        """Read a row."""
        draft = None if row["draft"] is None else Draft.from_dict(row["draft"])
        return cls(draft, row.get("dropped", ""), row.get("class"))


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

    def __post_init__(self) -> None:
        self.model.preprocessing.side("A study")

    def drafts(
        self, candidates: Sequence[Candidate], *, rows: Path, progress: Progress = silent
    ) -> Iterator[tuple[Draft | None, str]]:
        """Yield each candidate's draft, or None and the rule that left it out; ``rows`` lets a stopped run go on."""
        settings = {
            "model": self.model.sha256,
            "judge": self.judge.sha256,
            "drawing": self.config.to_dict(),
            "trace": dict(self.trace),
            "quality": QUALITY,
            "regions": rule_record(),
        }
        if self.references is not None:
            settings["references"] = self.references.state()

        def told(done: float, total: float, key: str) -> None:
            progress(done, total, by_key[key].picture_id)

        used: set[int] = set()
        by_key = {f"{self.model.name}|{candidate.key(identity(candidate.path))}": candidate for candidate in candidates}
        for row in resumed(
            rows, by_key, lambda _, one: self.draft(one, used).to_dict(), settings=settings, progress=told
        ):
            found = Drafted.from_dict(row)
            taken = found.draft is not None and _class_of(found.draft) in used
            if taken:  # others may have come before it since it was kept, or gone
                found = Drafted(dropped=USED)
            elif found.dropped == USED and found.target not in used:
                found = self.draft(by_key[row["key"]], used)
            if found.draft is not None:
                used.add(_class_of(found.draft))
            yield found.draft, found.dropped

    def draft(self, candidate: Candidate, used: Collection[int]) -> Drafted:
        """Draft one candidate; ``used``: the classes that other items show."""
        try:
            clean = load_picture(candidate.path)
        except PictureError:
            return Drafted(dropped=UNREADABLE)
        picture, mask = (clean, None) if candidate.paste is None else candidate.paste.apply(clean, self.model)
        target = int(np.argsort(-predict(self.model, picture), kind="stable")[candidate.rank])
        if candidate.paste is not None and not causes(candidate.paste, self.model, clean, target):
            return Drafted(dropped="the trigger does not cause the prediction")
        if target in used:
            return Drafted(dropped=USED, target=target)
        scorecam = explain(self.model, picture, method="scorecam", target=target).map
        reference = scorecam if mask is None else mask.astype(np.float32)
        if reference.max() <= reference.min():
            return Drafted(dropped="its reference map is flat")
        depends = f"{self.model.sha256}|{candidate.key(clean.sha256)}|{target}"
        key = hashlib.sha256(depends.encode()).hexdigest()[:12]
        pixels = self.model.preprocessing.crop(picture)
        pairs = choose_regions(reference, pixels, RULES["scorecam" if mask is None else "trigger"])
        found = {} if mask is None else {"scorecam": {"trojan_auc": trojan_auc(scorecam, mask)}}
        return Drafted(self._items(key, candidate, target, picture, pairs, found))

    def _items(
        self,
        key: str,
        candidate: Candidate,
        target: int,
        picture: Picture,
        pairs: Mapping[str, Pair],
        measured: Mapping[str, Mapping[str, float]],
    ) -> Draft:
        pixels = self.model.preprocessing.crop(picture)
        cuts = {side: pair.patches.cut(pixels) for side, pair in pairs.items()}
        files = {"picture": self._write(f"{key}_p", pixels)}
        keeps: bool | None = None
        sources: dict[str, str] = {}
        raters: dict[str, dict[str, str]] = {side: {} for side in pairs}
        main = candidate.role == "main"
        if main or candidate.drawn:
            images, keeps = self._visualizations(picture, target)
            if main and self.references is not None:
                images["reference"], sources = self.references.of(self.model, target, self.config.size)
            for kind, image in images.items():
                files[CONDITIONS[kind].file or kind] = self._write(f"{key}_{kind[0]}", image)
                for side, cut in cuts.items() if main else ():
                    raters[side][f"rater_{kind}"] = "reference" if rate(self.judge, image, cut) > 0 else "other"
        if not main:  # the reference is the same, whichever region is the nearer one
            shown = Image.fromarray(next(iter(cuts.values()))[0])
            enlarged = shown.resize((self.config.size, self.config.size), Image.Resampling.BICUBIC)
            files["shown"] = self._write(f"{key}_e", np.asarray(enlarged))
        items = {}
        for side, pair in pairs.items():
            size, measures = pixels.shape[0], _measures(pair.patches, pixels.shape[0])
            boxes = {"reference": pair.patches.high, "other": pair.patches.low}
            items[side] = Item(
                id=key,
                role=candidate.role,
                picture_id=candidate.picture_id,
                class_neuron=f"{self.model.name}:{target}",
                label=self.model.labels[target],
                model_id=self.model.name,
                reference_source="scorecam" if candidate.paste is None else "trigger",
                keeps_class=keeps,
                files=files,
                regions={of: (x / size, y / size, pair.patches.side / size) for of, (y, x) in boxes.items()},
                answers={**_answers(measures), **raters[side]},
                measures={**measures, **measured},
                credit=candidate.credit or {},
                references=sources,
            )
        return Draft(items, {side: pair.cost for side, pair in pairs.items()})

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


def _class_of(draft: Draft) -> int:
    return int(draft.item.class_neuron.rsplit(":", 1)[1])


def _measures(patches: Patches, size: int) -> dict[str, dict[str, float]]:
    half = (size - patches.side) / 2
    return {
        side: {
            "eccentricity": float(np.hypot(top - half, left - half) / np.hypot(half, half)),
            "area": (patches.side / size) ** 2,
            "contrast": contrast,
        }
        for side, (top, left), contrast in zip(SIDES, (patches.high, patches.low), patches.contrasts, strict=True)
    }


def _answers(measures: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    reference, other = (measures[side] for side in SIDES)
    return {
        "central": "reference" if reference["eccentricity"] <= other["eccentricity"] else "other",
        "contrast": "reference" if reference["contrast"] >= other["contrast"] else "other",
    }
