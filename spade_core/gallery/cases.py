"""The cases of the gallery, and the answers that they give to the pages' requests; nothing of it is written here.

``assets/gallery/cases.json`` lists the cases in the order in which Home shows them. A case has a folder with the
pictures that Home shows and, for each request of a page that it answers, the files of the finished job (``packing``).
``python -m benchmarks.gallery`` makes all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from math import inf
from pkgutil import resolve_name
from typing import Any

from spade_core.config import ASSETS

FOLDER = ASSETS / "gallery"
CASES = "cases.json"
ANSWERS = 8  # unpacked for all users, about 2 MB each


@dataclass(frozen=True)
class Answer:
    """A finished job that is kept.

    Attributes:
        kind: of the job; key: of its request, see :func:`request_key`.
        folder: below ``assets/gallery``; files: name -> sha256 of each.
    """

    kind: str
    key: str
    folder: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """One finished case.

    Attributes:
        name: of its folder; title, see: for people, what it is and what to see in it.
        group: which of the gallery's groups it belongs to.
        labels: what ``before.webp`` and ``after.webp`` are; ``picture.webp`` is what the model sees.
        facts: what was measured, label -> value, as people read it.
        predicted: the dense model's most probable classes and their probabilities.
        gain: percent of the dense map's error that the trace's map removes (of 100 - Trojan AUC), below 0 where it adds
            some; None: no right answer is known.
        divider: percent of the width that is ``before`` at first: where the trigger is cut in two, so that the eye
            meets it on both sides.
        links: page -> the URL parameters that open the same there.
        answers: to the requests of those pages.
    """

    name: str
    title: str
    group: str
    see: str
    labels: tuple[str, str]
    facts: Mapping[str, str]
    predicted: tuple[tuple[str, float], ...]
    gain: float | None
    divider: float
    links: Mapping[str, Mapping[str, str]]
    answers: tuple[Answer, ...]

    def picture(self, name: str) -> bytes:
        """Return ``before``, ``after`` or ``picture``, the bytes of a WebP file."""
        return (FOLDER / self.name / f"{name}.webp").read_bytes()

    def answers_to(self, kind: str, payload: Mapping[str, object]) -> bool:
        """Return whether the case holds the answer to a request."""
        return request_key(kind, payload) in {one.key for one in self.answers}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Case:
        """Rebuild what ``dataclasses.asdict`` gave."""
        pairs = {"labels": tuple(values["labels"]), "predicted": tuple(map(tuple, values["predicted"]))}
        return cls(**{**values, **pairs, "answers": tuple(Answer(**one) for one in values["answers"])})


@cache
def cases() -> dict[str, Case]:
    """Return all cases by their names, in the gallery's order."""
    listed = json.loads((FOLDER / CASES).read_text("utf-8"))
    return {one["name"]: Case.from_dict(one) for one in listed}


def plainest() -> Case:
    """Return the case whose trace gains most by measurement, see ``Case.gain``."""
    return max(cases().values(), key=lambda one: -inf if one.gain is None else one.gain)


def request_key(kind: str, payload: Mapping[str, object]) -> str:
    """Return the key of a request: sha256 of its kind and payload, wherever its picture lies and whatever code runs."""
    picture = payload.get("picture")
    placeless = (
        {name: value for name, value in picture.items() if name != "path"} if isinstance(picture, Mapping) else {}
    )
    text = json.dumps([kind, {**payload, "picture": placeless}], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def answered(kind: str, payload: Mapping[str, object]) -> dict[str, bytes] | None:
    """Return the files of the case that answers a request, or None."""
    found = _answers().get(request_key(kind, payload))
    return None if found is None else dict(_files(found.folder))


@cache
def _answers() -> dict[str, Answer]:
    return {answer.key: answer for case in cases().values() for answer in case.answers}


@lru_cache(maxsize=ANSWERS)
def _files(folder: str) -> dict[str, bytes]:
    unpack = resolve_name("spade_core.gallery.packing:unpack")  # whose libraries the first sight of Home need not await
    files: dict[str, bytes] = unpack({file.name: file.read_bytes() for file in sorted((FOLDER / folder).iterdir())})
    return files
