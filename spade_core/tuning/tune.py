"""From a folder of pictures to a table of ratios for each method, with all that says where it comes from.

Every look is on disk before the next one begins: a search that was killed or cancelled goes on where it stopped, and
ends in the same bytes as one that was not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spade_core.errors import ConfigError, PictureError
from spade_core.evaluation.configuration import ALL
from spade_core.evaluation.engine import chosen_pictures
from spade_core.evaluation.processing import PROCESSING
from spade_core.evaluation.protocols import NOT_CAUSED, Case, case_of
from spade_core.files import Journal, write_whole
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import load_picture
from spade_core.pictures.splits import digest_of
from spade_core.progress import Progress, rising, silent
from spade_core.pruning.options import TraceOptions
from spade_core.pruning.tables import DENSE
from spade_core.results.manifest import threads
from spade_core.saliency import METHODS
from spade_core.tuning.configuration import Tuning
from spade_core.tuning.looks import Looks
from spade_core.tuning.objectives import SPLIT
from spade_core.tuning.search import KEPT, Found, Score, descend, rounds, side_by_side
from spade_core.tuning.space import DEPTHWISE, Space, space_of

REPORTING = "reporting"
_OPEN = TraceOptions()  # what it leaves open a table may prefer
LOOKS = ".looks.jsonl"  # what the journal's name has in the place of the table's suffix


def tune(
    model: LoadedModel,
    images: str | Path,
    out: str | Path,
    tuning: Tuning,
    *,
    split: str = SPLIT,
    limit: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Choose ratios for each method, write them as a table and return it, JSON-able.

    Args:
        model: read-only.
        images: folder; its pictures are held in memory.
        out: JSON file to write; the looks are kept beside it.
        split: ``tuning``, ``training`` or ``all``; limit: at most how many pictures, spread over it.
        progress: called with (done, 1, note); may raise ``Cancelled``, and what was looked at is kept.

    Raises:
        ConfigError: a value cannot be used, no picture counts, or ``out`` belongs to something else.
        LayerError: a method cannot be applied to this architecture, or nothing can be pruned.
    """
    if split == REPORTING:
        raise ConfigError("What is chosen on the reporting split can no longer be reported on it: take --split tuning.")
    paths, chosen = chosen_pictures(images, split, limit), tuning.for_model(model)
    space, digest = space_of(model, chosen), digest_of(paths)
    journal = _journal(Path(out), chosen.header(model, digest))
    with threads(chosen.threads):
        cases, skipped = _cases(model, chosen, paths)
        methods = _searches(chosen)
        moments = rounds(len(space.stages), chosen.sweeps)
        looks = Looks(space, cases, methods, journal, moments, rising(progress))
        where = len(space.stages), chosen.ratios, space.begin, chosen.sweeps
        found = side_by_side({name: descend(*where) for name in methods}, looks)
    progress(1.0, 1.0, "done")
    pictures = {"split": split, "pictures": len(cases), "skipped": skipped, "looks": len(looks.seen)}
    table = _table(space, chosen, found, {**chosen.header(model, digest), **pictures})
    text = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    write_whole(Path(out), text.encode())
    return json.loads(text)


def _searches(tuning: Tuning) -> dict[str, tuple[str, ...]]:
    """Return what is searched for, and over which methods' mean: each method, and all of several."""
    each: dict[str, tuple[str, ...]] = {slug: (slug,) for slug in tuning.methods}
    return each | ({ALL: tuning.methods} if len(each) > 1 else {})


def _journal(out: Path, header: Mapping[str, object]) -> Journal:
    looks = out.with_suffix(LOOKS)
    if out.is_dir() or (out.exists() and not looks.exists()):
        raise ConfigError(f"{str(out)!r} is there already and was not tuned here: give another --out.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Journal(looks, header)
    except OSError as error:
        raise ConfigError(f"{str(out)!r} cannot be written ({error.strerror}): give another --out.") from error


def _cases(model: LoadedModel, tuning: Tuning, paths: Sequence[Path]) -> tuple[list[Case], dict[str, int]]:
    """Return the pictures that count, and why how many others do not."""
    skipped: Counter[str] = Counter()

    def counted() -> Iterator[Case]:
        for path in paths:
            try:
                case = case_of(model, tuning.measured, load_picture(path.read_bytes(), name=path.name))
            except PictureError as error:
                skipped[str(error)] += 1
                continue
            if case is not None:
                yield case
            else:
                skipped[NOT_CAUSED] += 1

    found = list(counted())
    if not found:
        raise ConfigError(
            f"No picture counts, give others: {', '.join(f'{reason} ({n})' for reason, n in skipped.items())}."
        )
    return found, dict(skipped)


def _table(
    space: Space, tuning: Tuning, found: Mapping[str, Found], provenance: Mapping[str, object]
) -> dict[str, object]:
    """Return what is written: a table as in ``assets/presets.json``, and how it was found."""
    ratios = {name: space.named(one.table) if any(one.table) else DENSE for name, one in found.items()}
    scores = {name: _told(space, one) for name, one in found.items()}
    return {
        "chosen": _sentence(tuning, provenance),
        "stages": ratios[ALL if ALL in ratios else tuning.methods[0]],
        "depthwise": DEPTHWISE,
        "options": {name: value for name, value in space.options.items() if getattr(_OPEN, name) is None},
        "methods": {slug: ratios[slug] for slug in tuning.methods},
        "provenance": {**provenance, "scores": scores},
    }


def _sentence(tuning: Tuning, provenance: Mapping[str, object]) -> str:
    shown = ", ".join(METHODS[slug].title for slug in tuning.methods)
    goal, processed = tuning.metric.title.removesuffix(", %"), PROCESSING[tuning.processing].title.lower()
    means = f"; each map the mean of {tuning.traces} traces', {tuning.average}" if tuning.traces > 1 else ""
    return (
        f"By {goal} ({processed}{means}), for each of {shown} and for their mean, among "
        f"tables that keep the class of at least {KEPT:.0%} of the pictures: {provenance['pictures']} of the "
        f"{provenance['split']} split, {provenance['looks']} tables looked at. Scores are those of the best of so many "
        "looks, so they are too high for other pictures."
    )


def _told(space: Space, found: Found) -> dict[str, object]:
    """Return what was chosen at each moment, and what it scored."""
    stages = ["begin" if step.stage is None else space.stages[step.stage] for step in found.steps]
    steps = [
        {"stage": stage, "ratios": list(step.table), **_numbers(step.score)}
        for stage, step in zip(stages, found.steps, strict=True)
    ]
    return {"dense": found.dense.value, "chosen": _numbers(found.steps[-1].score), "looks": found.looks, "steps": steps}


def _numbers(score: Score) -> dict[str, float]:
    return {"score": score.value, "kept": score.kept}
