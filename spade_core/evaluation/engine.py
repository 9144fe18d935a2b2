"""A run: a folder's pictures, one after the other or on many machines, to tables on disk.

A picture's record is on disk before the next one counts as done. A run that was killed or cancelled goes on where it
stopped, and ends in the same bytes of ``results.parquet`` and ``table.md`` as one that was not; seconds, which differ
from run to run, are in ``seconds.parquet`` and ``report.html`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TypeAlias

import numpy as np

from spade_core.errors import ConfigError, PictureError
from spade_core.evaluation.baselines.references import made_of, reference_pictures
from spade_core.evaluation.baselines.replacement import Replacement
from spade_core.evaluation.configuration import Configuration
from spade_core.evaluation.folder.maps import arrays_of, write_maps
from spade_core.evaluation.folder.rows import MAPS, map_file
from spade_core.evaluation.maps import Prepared
from spade_core.evaluation.protocols import measure
from spade_core.evaluation.records import RECORDS, Record, write_tables
from spade_core.evaluation.report import write_reports
from spade_core.evaluation.statistics import Statistics
from spade_core.files import UNFINISHED, Journal
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import read_file
from spade_core.pictures.splits import SPLITS, digest_of, pictures_in, split_of, spread
from spade_core.progress import Progress, silent, span
from spade_core.pruning.kinds import OneOf

ENGINES = {"local": f"{__name__}:local", "ray": "spade_core.evaluation.ray_engine:on_cluster"}
MAKING = 0.1  # of a run's progress, where arms are made of a folder first
WHOLE = "all"  # of a folder, in place of a split


@dataclass(frozen=True, eq=False)
class Work:
    """What is done with each picture, and where.

    Attributes:
        address: of a cluster; None: one of this machine's own.
        shared: what each arm that is made of a folder replaces.
        keep: folder that each picture's maps are written to; None: they are not kept.
    """

    model: LoadedModel
    configuration: Configuration
    address: str | None = None
    shared: Mapping[str, Replacement] = field(default_factory=dict)
    keep: Path | None = None

    def measure(self, name: str, data: bytes, progress: Progress = silent) -> Record:
        """Return the record of one picture, of the bytes of its file."""
        if self.keep is None:
            return measure(self.model, self.configuration, name, data, progress, self.shared)
        arrays: dict[str, np.ndarray] = {}

        def keep(prepared: Prepared) -> None:
            arrays.update(arrays_of(prepared))

        record = measure(self.model, self.configuration, name, data, progress, self.shared, keep)
        if not record.skipped:
            write_maps(self.keep / map_file(name, record.sha256), arrays)
        return record


Records: TypeAlias = Generator[Record, None, None]
Engine: TypeAlias = Callable[[Work, Sequence[Path], Progress], Records]
"""Yields the record of each path, in any order; its progress may raise ``Cancelled``."""


def local(work: Work, paths: Sequence[Path], progress: Progress) -> Records:
    """Measure the pictures one after the other in this process."""
    for index, path in enumerate(paths):
        part = _counted(span(progress, index / len(paths), (index + 1) / len(paths)), index + 1, len(paths))
        part(0.0, 1.0, path.name)
        try:
            yield work.measure(path.name, read_file(path, path.name), part)
        except PictureError as error:  # what cannot even be read
            yield Record(path.name, skipped=str(error))


def _counted(progress: Progress, number: int, total: int) -> Progress:
    """Say in each note which picture it is about."""
    return lambda done, whole, note: progress(done, whole, f"picture {number} of {total}: {note}")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run found.

    Attributes:
        folder: of all files; table: the text of ``table.md``; skipped: reason -> number of pictures.
    """

    folder: Path
    statistics: Statistics
    table: str
    skipped: Mapping[str, int] = field(default_factory=dict)


def run(
    model: LoadedModel,
    images: str | Path,
    out: str | Path,
    configuration: Configuration,
    *,
    split: str = WHOLE,
    limit: int | None = None,
    reference: str | Path | None = None,
    engine: str = "local",
    address: str | None = None,
    keep_maps: bool = False,
    on_record: Callable[[Record], object] = lambda _: None,
    progress: Progress = silent,
) -> Outcome:
    """Measure maps over a folder of pictures, and go on where an earlier run of the same configuration stopped.

    Args:
        model: read-only.
        images: folder; out: folder of all files, made if absent.
        split: one of ``SPLITS``, or ``all`` pictures of the folder; limit: at most how many, spread over them.
        reference: folder that the arms ``global`` and ``sparse_fc`` are made of; None: ``images``, its training split.
        engine: ``local`` or ``ray``; address: of a Ray cluster; None: one is started on this machine.
        keep_maps: whether each picture's maps go to ``out/maps``, see ``folder.maps``; with the engine ``local``.
        on_record: called with each record of the pictures, those of an earlier run first.
        progress: called with (done, 1, note); may raise ``Cancelled``, and what was measured is kept.

    Raises:
        ConfigError: a value cannot be used, no picture counts, or ``out`` holds something else.
        LayerError: a method cannot be applied to this architecture.
    """
    start: Engine = resolve_name(ENGINES[OneOf("engine", ENGINES).check(engine)])
    if keep_maps and engine != "local":
        raise ConfigError(f"Maps are kept by the engine local, not by {engine}: take that, or leave the maps out.")
    paths = chosen_pictures(images, split, limit)
    chosen, names = configuration.for_model(model), [path.name for path in paths]
    references = reference_pictures(chosen, images, paths, reference)
    header = chosen.header(model, names) | ({"reference": digest_of(references)} if references else {})
    journal = opened(Path(out), header)
    waiting = [path for path in paths if path.name not in journal]
    for name in (path.name for path in paths if path.name in journal):
        on_record(Record.from_dict(journal[name]))
    if waiting:
        shared = made_of(model, chosen, references, span(progress, 0.0, MAKING))
        part = span(progress, MAKING if shared else 0.0, 1.0)
        work = Work(model, chosen, address, shared, Path(out) / MAPS if keep_maps else None)
        with closing(start(work, waiting, part)) as records:
            for record in records:
                journal.add(record.picture, record.to_dict())
                on_record(record)
    return _finished(Path(out), chosen, header, journal, names)


def chosen_pictures(images: str | Path, split: str, limit: int | None) -> list[Path]:
    """Return the pictures of a folder that a run measures.

    Raises:
        ConfigError: there are none, or a value cannot be used.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit must be at least 1, not {limit}.")
    known = pictures_in(images) if OneOf("split", (*SPLITS, WHOLE)).check(split) == WHOLE else split_of(images, split)
    if not known:
        raise ConfigError(f"The folder {str(images)!r} holds no pictures: put JPEG or PNG files into it.")
    return spread(known, limit)


def opened(out: Path, header: Mapping[str, object]) -> Journal:
    """Return the records of a run's folder, made if absent.

    Raises:
        ConfigError: it holds a run of another configuration, or other files.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in out.iterdir() if not path.name.startswith(UNFINISHED)]
        if others and not (out / RECORDS).is_file():
            raise ConfigError(f"{str(out)!r} holds other files ({min(others)}): give --out a folder of its own.")
        return Journal(out / RECORDS, header)
    except OSError as error:
        raise ConfigError(f"The folder {str(out)!r} cannot be used ({error.strerror}): give another --out.") from error


def _finished(
    out: Path, configuration: Configuration, header: Mapping[str, object], journal: Journal, names: Sequence[str]
) -> Outcome:
    """Make the tables of all records, in the order of the pictures."""
    skipped: dict[str, int] = {}

    def counted() -> Iterator[Record]:
        for name in names:
            record = Record.from_dict(journal[name])
            if not record.skipped:
                yield record
            else:
                skipped[record.skipped] = skipped.get(record.skipped, 0) + 1

    kept = [(record.scores, record.outcomes, record.seconds) for record in counted()]
    if not kept:
        raise ConfigError(
            f"No picture counts, give others: {', '.join(f'{reason} ({n})' for reason, n in skipped.items())}."
        )
    scores, outcomes, seconds = map(np.stack, zip(*kept, strict=True))
    skipped.clear()
    write_tables(counted(), configuration, header, out)
    statistics = Statistics(configuration, scores, outcomes)
    table = write_reports(statistics, seconds, skipped, out)
    return Outcome(out, statistics, table, skipped)
