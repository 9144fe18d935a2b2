"""Names of classes: ImageNet's, those of a user's file, and the class that a person means by an index or a name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from spade_core.errors import ModelError
from spade_core.models.loaded import LoadedModel


def imagenet_labels() -> tuple[str, ...]:
    """Return the names of the 1,000 ImageNet classes, in the usual order."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names, in the order of their indices.

    One a line, with or without its index before it; a JSON list of names, of ``[id, name]`` or of objects with a name;
    or a JSON object from index to one of these, or from name to index (``class_to_idx`` of image folders).

    Raises:
        ModelError: the file cannot be read as one of these, a name is missing, or indices and places disagree.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        found = _of_json(json.loads(text)) if text[:1] in ("[", "{") else _of_lines(text.splitlines())
    except (OSError, LookupError, TypeError, ValueError, RecursionError):
        raise ModelError(
            f"The class names in {path.name} cannot be read: give one name a line, a JSON list, or a JSON object with "
            "the keys 0, 1, 2 ..."
        ) from None
    names = tuple(re.sub(r"\s+", " ", name).strip() for name in found)
    if "" in names:
        raise ModelError(f"The class names in {path.name} lack that of class {names.index('')}: give every class one.")
    return names


def _of_json(found: object) -> list[str]:
    """Return the names of a JSON value; raises one of the usual errors where it has another form."""
    if isinstance(found, dict) and found and all(type(index) is int for index in found.values()):
        found = {str(index): name for name, index in found.items()}
    if isinstance(found, dict):
        found = [found[str(index)] for index in range(len(found))]
    if not isinstance(found, list):
        raise TypeError(found)
    return [_name(entry) for entry in found]


def _name(entry: object) -> str:
    if isinstance(entry, dict):
        entry = entry.get("name", entry.get("label"))
    if isinstance(entry, list):
        entry = entry[-1]
    if entry is None:
        return ""  # which is told with its index
    if not isinstance(entry, str | int | float) or isinstance(entry, bool):
        raise TypeError(entry)
    return str(entry)


def _of_lines(lines: Sequence[str]) -> list[str]:
    """Return the names on the lines; where each begins with an index, and all are there, in the order of these."""
    parts = [re.fullmatch(r"\s*(\d{1,6})\s*[\s:,;=]\s*(\S.*)", line) for line in lines]
    numbered = {int(part[1]): part[2] for part in parts if part is not None}
    if sorted(numbered) == list(range(len(lines))):
        return [numbered[index] for index in range(len(lines))]
    return list(lines)


def resolve_target(model: LoadedModel, target: int | str) -> int:
    """Return the class index that an index or a label means (exact label, then a unique part of one).

    A number as text may be both, where classes are called by numbers; ``index=10`` and ``name=10`` say which is meant.

    Raises:
        ModelError: no such class; an ambiguous label lists its candidates.
    """
    labels = model.labels
    text = str(target).strip()
    kind, _, rest = text.partition("=")
    if kind in ("index", "name") and text not in labels:
        text = rest.strip()
    if isinstance(target, str) and kind != "index" and re.fullmatch(r"\d+", text) and text in labels:
        return _numbered(labels, text, named=kind == "name")
    if kind != "name" and re.fullmatch(r"-?\d+", text):
        # Compared by length first: Python refuses to convert numbers of thousands of digits.
        if text[0] == "-" or len(text.lstrip("0")) > len(str(len(labels))) or int(text) >= len(labels):
            raise ModelError(f"The class index must lie between 0 and {len(labels) - 1}, not {text[:20]}.")
        return int(text)
    folded = [label.casefold() for label in labels]
    wanted = text.casefold()
    found = [i for i, label in enumerate(folded) if label == wanted]
    found = found or [i for i, label in enumerate(folded) if wanted and wanted in label]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{labels[i]} ({i})" for i in found[:8]) + (" ..." if len(found) > 8 else "")
        raise ModelError(f"{text!r} may mean several classes: {listed}; give the index.")
    near = [labels[folded.index(label)] for label in difflib.get_close_matches(wanted, folded, n=3)]
    hint = f": did you mean {', '.join(near)}?" if near else "; give its index."
    raise ModelError(f"{model.name} has no class {text!r}{hint}")


def _numbered(labels: Sequence[str], text: str, *, named: bool) -> int:
    """Return the class that is called by the number ``text``, unless it may as well mean another one's index."""
    places = [index for index, label in enumerate(labels) if label == text]
    other = int(text) if len(text) <= len(str(len(labels))) else len(labels)
    if len(places) == 1 and (named or other == places[0] or other >= len(labels)):
        return places[0]
    if len(places) == 1:
        raise ModelError(
            f"{text} is the name of class {places[0]} and the index of class {labels[other]!r}: "
            f"give name={text} or index={text}."
        )
    raise ModelError(f"{text!r} is the name of {len(places)} classes: give index={places[0]} or another index.")
