"""A stimulus set: a folder of pictures, visualizations and a manifest that names and hashes every file.

A participant sees the files only; what they are (class, condition, reference, baselines) is in ``manifest.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, with_config

from spade_core.config import ASSETS
from spade_core.errors import ConfigError
from spade_core.study.vocabulary import CONDITIONS

DEMO_SET = ASSETS / "study" / "demo_set"
MANIFEST = "manifest.json"
FORMAT = 1
ROLES = ("main", "practice", "catch")
SIDES = ("reference", "other")
SLACK = 1e-6  # of the picture's side, by which regions may lie over its edge or each other

Box = tuple[float, float, float]


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class Item:
    """One stimulus.

    Attributes:
        id: random-looking, unique in the set.
        role: ``main``, ``practice`` or ``catch``.
        picture_id: of the photograph; several items may share it.
        class_neuron: ``MODEL_ID:CLASS_INDEX``; label: the class's name.
        model_id: whose neuron it is.
        reference_source: ``scorecam`` (on the dense model) or ``trigger``.
        keeps_class: whether the trace still ranks the class first; None where nothing was traced.
        files: ``picture``; of main items ``dense``, ``spade`` and perhaps ``references``; of the others ``shown``, the
            same for every condition.
        regions: ``reference`` and ``other``: ``(left, top, side)`` as shares of the picture's side.
        answers: what each baseline would choose, ``reference`` or ``other``: ``central``, ``contrast``, and the model
            rater's ``rater_dense`` and ``rater_spade``.
        measures: of either region: eccentricity (distance of its centre from the picture's, 1 in a corner), area (share
            of the picture), contrast (standard deviation of grey values); of triggered items ``scorecam``: the Trojan
            AUC of Score-CAM's map against the trigger.
        credit: author, licence and source of the photograph.
        references: of main items with ``files["references"]``: sha256 of each picture that it shows, by its file.
    """

    id: str
    role: str
    picture_id: str
    class_neuron: str
    label: str
    model_id: str
    reference_source: str
    keeps_class: bool | None
    files: Mapping[str, str]
    regions: Mapping[str, Box]
    answers: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    credit: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Item:
        """Return the item of a manifest's entry.

        Raises:
            ValidationError: it is none.
        """
        return TypeAdapter(cls).validate_python(values)


class _Manifest(BaseModel):
    """What a manifest holds; the rest of it says how the set was made."""

    model_config = ConfigDict(extra="allow")
    format: int
    demo: bool
    files: dict[str, str]
    items: tuple[Item, ...]
    report: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class StimulusSet:
    """A set and the folder that it lies in.

    Attributes:
        folder, sha256: of the manifest's bytes; demo: tries the software, measures nothing.
        items: in the order of the manifest; about: title, models, drawing and trace settings, what was dropped, report.
    """

    folder: Path
    sha256: str
    demo: bool
    items: tuple[Item, ...]
    about: Mapping[str, Any]

    def of(self, role: str) -> list[Item]:
        """Return the items of one role."""
        return [item for item in self.items if item.role == role]

    def item(self, key: str) -> Item:
        """Return one item by its id."""
        return next(item for item in self.items if item.id == key)

    def conditions(self) -> set[str]:
        """Return the conditions that every main item has the files for."""
        main = self.of("main")
        return {
            name
            for name, shown in CONDITIONS.items()
            if shown.file is None or all(shown.file in item.files for item in main)
        }

    @property
    def warning(self) -> str | None:
        """Return what the report of its build warns of."""
        return (self.about.get("report") or {}).get("warning")

    def read(self, name: str) -> bytes:
        """Return the bytes of a file of the set."""
        return (self.folder / name).read_bytes()


def _manifest(folder: Path, sha256: str) -> Path:
    """Return the manifest that an earlier set had, where it was kept, or today's."""
    earlier = folder / f"manifest.{sha256[:12]}.json"
    return earlier if sha256 and earlier.is_file() else folder / MANIFEST


def write_manifest(folder: Path, items: Iterable[Item], *, demo: bool, about: Mapping[str, object]) -> StimulusSet:
    """Write the manifest of a folder and return the set.

    Raises:
        ConfigError: a file is missing, such as after a deletion between two runs of a build.
    """
    items = list(items)
    names = sorted({name for item in items for name in item.files.values()})
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if missing is not None:
        raise ConfigError(f"{folder / missing} is missing: delete the rows (.jsonl) beside the set and build it again.")
    files = {name: _sha256(folder / name) for name in names}
    content = {"format": FORMAT, "demo": demo, **about, "files": files, "items": [asdict(item) for item in items]}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return load_set(folder)


def load_set(folder: str | Path, sha256: str = "") -> StimulusSet:
    """Read the stimulus set of a folder with ``manifest.json`` and check it, every file by its sha256.

    Args:
        folder: of the set.
        sha256: of the manifest that a study was published with, which lies beside a later one as
            ``manifest.SHA256.json`` (its first twelve digits). Empty: today's.

    Raises:
        ConfigError: no manifest, a damaged one, a missing or changed file, or items that contradict the rules: one
            sentence that names the first fault.
    """
    folder = Path(folder)
    try:
        data = _manifest(folder, sha256).read_bytes()
    except OSError:
        raise ConfigError(f"{folder} holds no stimulus set: it needs a {MANIFEST}; “study build” writes one.") from None
    try:
        content = _Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ConfigError(f"{folder / MANIFEST} is damaged ({place}: {first['msg']}): build the set again.") from error
    if content.format != FORMAT:
        raise ConfigError(f"{folder / MANIFEST} has format {content.format}, not {FORMAT}: build the set again.")
    about = content.model_dump(exclude={"items", "files", "demo", "format"}, exclude_unset=True)
    found = StimulusSet(folder, hashlib.sha256(data).hexdigest(), content.demo, content.items, about)
    _check_items(found, content.files)
    _check_files(folder, content.files)
    return found


def _check_items(found: StimulusSet, files: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for item in found.items:
        for fault, sentence in _RULES:
            if fault(item, files):
                raise ConfigError(f"Item {item.id} of {found.folder} {sentence}; build the set again.")
        if item.id in seen:
            raise ConfigError(f"Two items of {found.folder} are called {item.id}; build the set again.")
        seen.add(item.id)
    main = {item.class_neuron for item in found.of("main")}
    for item in found.items:
        if item.role != "main" and item.class_neuron in main:
            raise ConfigError(
                f"Item {item.id} of {found.folder} is for {item.role} but shows class neuron {item.class_neuron} of a "
                "main item; take another class for it."
            )


ALWAYS = {shown.file for shown in CONDITIONS.values() if shown.always and shown.file}  # files of every main item
_RULES: tuple[tuple[Callable[[Item, Mapping[str, str]], bool], str], ...] = (
    (lambda item, _: item.role not in ROLES, f"has a role other than {', '.join(ROLES)}"),
    (lambda item, files: not set(item.files.values()) <= files.keys(), "names a file that has no sha256"),
    (lambda item, _: any(Path(name).name != name for name in item.files.values()), "names a file outside the folder"),
    (lambda item, _: "picture" not in item.files, "has no picture"),
    (lambda item, _: item.role == "main" and not item.files.keys() >= ALWAYS, "lacks its two visualizations"),
    (lambda item, _: item.role != "main" and "shown" not in item.files, "lacks the image that it shows"),
    (lambda item, _: set(item.regions) != set(SIDES), "needs the regions “reference” and “other”"),
    (lambda item, _: not all(map(_inside, item.regions.values())), "has a region outside the picture"),
    (lambda item, _: _overlap(*(item.regions[side] for side in SIDES)), "has regions that overlap"),
    (lambda item, _: len({item.regions[side][2] for side in SIDES}) > 1, "has regions of different size"),
    (lambda item, _: not set(item.answers.values()) <= set(SIDES), "has an unknown answer of a baseline"),
)


def _inside(box: Box) -> bool:
    left, top, side = box
    return side > 0 and min(left, top) >= -SLACK and max(left, top) + side <= 1 + SLACK


def _overlap(one: Box, two: Box) -> bool:
    return all(one[axis] < two[axis] + two[2] - SLACK and two[axis] < one[axis] + one[2] - SLACK for axis in (0, 1))


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, wanted in files.items():
        try:
            found = _sha256(folder / name)
        except (OSError, ValueError):  # a name may be none of a file
            raise ConfigError(f"{folder / name} is missing: build the set again.") from None
        if found != wanted:
            raise ConfigError(f"{folder / name} is not the file that the manifest names: build the set again.")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
