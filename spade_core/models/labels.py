"""Names of classes: ImageNet's, those of a user's file, and the class that a person means by an index or a name."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path

from spade_core.errors import ModelError
from spade_core.models.loaded import LoadedModel


def imagenet_labels() -> tuple[str, ...]:
    """Return the names of the 1,000 ImageNet classes, in the usual order."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names: one a line, a JSON list, or a JSON object from index to name (or to ``[id, name]``).

    Raises:
        ModelError: the file cannot be read as one of these.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        names = json.loads(text) if text[:1] in ("[", "{") else text.splitlines()
        if isinstance(names, dict):
            entries = [names[str(index)] for index in range(len(names))]
            names = [entry[-1] if isinstance(entry, list) else entry for entry in entries]
    except (OSError, LookupError, TypeError, ValueError, RecursionError):
        raise ModelError(
            f"The class names in {path.name} cannot be read: give one name a line, a JSON list, or a JSON object with "
            "the keys 0, 1, 2 ..."
        ) from None
    return tuple(str(name).strip() for name in names)


def resolve_target(model: LoadedModel, target: int | str) -> int:
    """Return the class index that an index or a label means (exact label, then a unique part of one).

    Raises:
        ModelError: no such class; an ambiguous label lists its candidates.
    """
    labels = model.labels
    text = str(target).strip()
    if re.fullmatch(r"-?\d+", text):
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
