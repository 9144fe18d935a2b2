"""Names of classes: ImageNet's, those of a user's file, and the class that a person means by an index or a name."""

from __future__ import annotations

import codecs
import difflib
import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import yaml

from spade_core.errors import ModelError
from spade_core.models.loaded import LoadedModel

FEW = 3  # names in a sentence
LONGEST = 200  # letters of a name
_JOINERS = "\u200c\u200d"  # without which Persian, Hindi and some emoji are spelt wrong
_KEYS = ("names", "classes", "categories", "id2label")
_NUMBERED = (
    re.compile(r"\s*(?P<index>\d{1,6})\s*[\s:,;=]\s*(?P<name>\S.*)"),
    re.compile(r"(?P<name>.*\S)\s*[\t,;]\s*(?P<index>\d{1,6})\s*"),
)


def imagenet_labels() -> tuple[str, ...]:
    """Return the names of the 1,000 ImageNet classes, in the usual order."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names, in the order of their indices.

    One a line, with or without its index before it (also by a comma or a tab, under a header or not); a JSON or YAML
    list of names, of ``[id, name]`` or of objects with a name and perhaps an index; an object from index to one of
    these, or from name to index (``class_to_idx`` of image folders); or one of these under ``names``, ``classes``,
    ``categories`` or ``id2label``.

    Raises:
        ModelError: the file cannot be read as one of these, a name is missing, or indices and places disagree.
    """
    path = Path(path)
    try:
        text = _decoded(path.read_bytes()).strip()
        if path.suffix.lower() in (".yaml", ".yml"):
            found = _of_json(yaml.safe_load(text))
        else:
            found = _of_json(json.loads(text)) if text[:1] in ("[", "{") else _of_lines(text.splitlines())
    except (OSError, LookupError, TypeError, ValueError, RecursionError, yaml.YAMLError):
        raise ModelError(
            f"The class names in {path.name} cannot be read: give one name a line, a JSON list, or a JSON object with "
            "the keys 0, 1, 2 ..., in UTF-8."
        ) from None
    names = tuple(_clean(name) for name in found)
    if not names:
        raise ModelError(f"There are no class names in {path.name}: give one a line, or leave the file out.")
    if "" in names:
        raise ModelError(f"The class names in {path.name} lack that of class {names.index('')}: give every class one.")
    return names


def notes_on(labels: Sequence[str]) -> tuple[str, ...]:
    """Return what is to be known of class names: those that several classes have, and numbers that are no indices."""
    notes = []
    if doubled := [name for name, count in Counter(labels).items() if count > 1]:
        shown = ", ".join(doubled[:FEW]) + (" ..." if len(doubled) > FEW else "")
        notes.append(f"Several classes have the same name ({shown}): choose these by their index.")
    numbers = [int(name) for name in labels if re.fullmatch(r"[0-9]{1,9}", name)]
    other = next((index for index, number in enumerate(numbers) if number != index), None)
    if len(numbers) == len(labels) and other is not None:
        how = ", sorted as text" if list(labels) == sorted(labels) and numbers != sorted(numbers) else ""
        notes.append(f"The class names are numbers{how}, and not the indices: class {other} is called {labels[other]}.")
    begins = [re.match(r"(\d{1,6})[\s:;=]", name) for name in labels]
    if labels and [begin and int(begin[1]) for begin in begins] == list(range(1, len(labels) + 1)):
        notes.append(f"The class names begin with numbers from 1 on; the index of {labels[0]} is 0.")
    return tuple(notes)


def _decoded(data: bytes) -> str:
    return data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")


def _clean(name: str) -> str:
    """Return a name on one line, without letters that cannot be seen, of a length that can be shown."""
    text = re.sub(r"\s+", " ", name).strip()
    text = "".join(letter for letter in text if letter.isprintable() or letter in _JOINERS)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _of_json(found: object) -> list[str]:
    """Return the names of a JSON value; raises one of the usual errors where it has another form."""
    if isinstance(found, dict):
        found = next((found[key] for key in _KEYS if isinstance(found.get(key), dict | list)), found)
    if isinstance(found, dict) and found and all(type(index) is int for index in found.values()):
        found = {index: name for name, index in found.items()}
    if isinstance(found, dict):
        numbered = {int(index): _name(entry) for index, entry in found.items()}
        if len(numbered) != len(found):
            raise ValueError(found)
        return [numbered[index] for index in range(len(numbered))]
    if not isinstance(found, list):
        raise TypeError(found)
    names, places = [_name(entry) for entry in found], [_place(entry) for entry in found]
    return _ordered(names, places)


def _ordered(names: list[str], places: Sequence[int | None]) -> list[str]:
    """Return the names in the order of their indices, where each has its own of 0, 1, 2 ..."""
    by_place = dict(zip(places, names, strict=True))
    if sorted(place for place in by_place if place is not None) == list(range(len(names))):
        return [by_place[place] for place in range(len(names))]
    return names


def _name(entry: object) -> str:
    if isinstance(entry, dict):
        entry = entry.get("name", entry.get("label"))
    if isinstance(entry, list):
        texts = [one for one in entry if isinstance(one, str)]
        entry = texts[-1] if texts and None not in entry else entry[-1]
    if entry is None:
        return ""  # which is told with its index
    if not isinstance(entry, str | int | float) or isinstance(entry, bool):
        raise TypeError(entry)
    return str(entry)


def _place(entry: object) -> int | None:
    """Return the index that an entry of a list has with its name."""
    if isinstance(entry, dict):
        entry = [entry.get(key) for key in ("id", "index")]
    numbers = [one for one in entry if type(one) is int] if isinstance(entry, list) else []
    return numbers[0] if len(numbers) == 1 else None


def _of_lines(lines: Sequence[str]) -> list[str]:
    """Return the names on the lines; where each has its index, and all are there, in the order of these."""
    for first, pattern in product((0, 1), _NUMBERED):  # a table has a header
        rows = [pattern.fullmatch(line) for line in lines[first:]]
        numbered = {int(row["index"]): _unquoted(row["name"]) for row in rows if row is not None}
        if rows and sorted(numbered) == list(range(len(rows))):
            return [numbered[index] for index in range(len(rows))]
    synsets = [re.fullmatch(r"\s*n\d{8}[\s,:]+(\S.*)", line) for line in lines]
    return [_unquoted(line if synset is None else synset[1]) for line, synset in zip(lines, synsets, strict=True)]


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1].replace('""', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text


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
