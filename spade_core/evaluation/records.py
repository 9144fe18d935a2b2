"""The record of each picture, kept as it is measured, and what is made of all: one table in long form.

A run keeps a line a picture (``files.Journal``), in whichever order pictures end, and makes ``results.parquet`` of them
in the order of the pictures. Seconds go to a table of their own: they are the only thing that differs from run to run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spade_core.errors import ConfigError, SpadeError
from spade_core.evaluation.configuration import NETWORK, OUTCOMES, Configuration
from spade_core.files import written_beside

RECORDS = "records.jsonl"
RESULTS, SECONDS = "results.parquet", "seconds.parquet"
GROUP = 256  # pictures in a row group
HEADER = "spade_studio"  # of a table's metadata
MOST_ROWS = 20_000_000  # of a table that is opened: whoever gives it may be anybody
_DAMAGED = (
    *(pa.ArrowException, ArithmeticError, AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError),
)


@dataclass(frozen=True, eq=False)
class Record:
    """What was measured of one picture.

    Attributes:
        picture: file name; sha256: of its bytes; trigger: name of the one that was pasted, or empty.
        skipped: why the picture does not count; then nothing else is there.
        scores: float64 ``(arms, methods, processing, metrics)``, in the configuration's order.
        outcomes: float64 ``(arms, 3)``: class kept (0 to 1), KL in nats, sparsity; means over an arm's traces.
        seconds: float64 ``(arms, 1 + methods)``: of the networks and of each method's maps.
        label: name of the explained class; probability: float64 ``(arms,)``, what an arm's networks give it, 0 to 1.
    """

    picture: str
    sha256: str = ""
    trigger: str = ""
    skipped: str = ""
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    outcomes: np.ndarray = field(default_factory=lambda: np.empty(0))
    seconds: np.ndarray = field(default_factory=lambda: np.empty(0))
    label: str = ""
    probability: np.ndarray = field(default_factory=lambda: np.empty(0))

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able form; a float is written so that it is read as the same."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Rebuild what :meth:`to_dict` gave."""
        numbers = ("scores", "outcomes", "seconds", "probability")  # an earlier run has no label and no probability
        known: dict[str, Any] = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        known |= {name: np.asarray(known[name], float) for name in numbers if name in known}
        return cls(**known)


def write_tables(
    records: Iterable[Record], configuration: Configuration, header: Mapping[str, object], folder: Path
) -> None:
    """Write ``results.parquet``, a row a picture, arm, method and processing, and ``seconds.parquet``.

    Args:
        records: of the pictures that count, in their order; they are read one after the other.
        header: what the run depends on, which ``results.parquet`` tells in its metadata.
    """
    told = {HEADER: json.dumps(header)}
    with written_beside(folder / RESULTS) as results, written_beside(folder / SECONDS) as seconds:
        writers: list[pq.ParquetWriter] = []
        waiting = iter(records)
        while group := tuple(islice(waiting, GROUP)):
            tables = [pa.table(columns(group, configuration), metadata=told) for columns in (_results, _seconds)]
            if not writers:
                files = (results, seconds)
                writers = [pq.ParquetWriter(file, table.schema) for file, table in zip(files, tables, strict=True)]
            for writer, table in zip(writers, tables, strict=True):
                writer.write_table(table)
        for writer in writers:
            writer.close()


def _results(records: tuple[Record, ...], configuration: Configuration) -> dict[str, object]:
    slugs = (configuration.arms, configuration.methods, configuration.processing)
    scores = np.stack([record.scores for record in records])
    columns = _labels(records, dict(zip(("arm", "method", "processing"), slugs, strict=True)))
    columns |= {slug: scores[..., at].ravel() for at, slug in enumerate(configuration.kind.metrics)}
    repeated = np.broadcast_to(
        np.stack([record.outcomes for record in records])[:, :, None, None], (*scores.shape[:-1], len(OUTCOMES))
    )
    return columns | {name: repeated[..., at].ravel() for at, name in enumerate(OUTCOMES)}


def _seconds(records: tuple[Record, ...], configuration: Configuration) -> dict[str, object]:
    columns = _labels(records, {"arm": configuration.arms, "part": (NETWORK, *configuration.methods)})
    return columns | {"seconds": np.stack([record.seconds for record in records]).ravel()}


def _labels(records: tuple[Record, ...], slugs: Mapping[str, tuple[str, ...]]) -> dict[str, object]:
    """Return the columns that say what each row is of, the last one of ``slugs`` changing fastest."""
    places = np.indices((len(records), *map(len, slugs.values()))).reshape(1 + len(slugs), -1)
    of_picture = {name: [getattr(record, name) for record in records] for name in ("picture", "sha256", "trigger")}
    columns = {name: np.array(values, object)[places[0]] for name, values in of_picture.items()}
    return columns | {name: np.array(slugs[name], object)[at] for name, at in zip(slugs, places[1:], strict=True)}


@dataclass(frozen=True, eq=False)
class Results:
    """What ``results.parquet`` holds.

    Attributes:
        header: what the run depends on; configuration: what it was asked for, of it.
        pictures: name, sha256 and trigger (or an empty text) of each, in the order of the other arrays.
        scores: float64 ``(pictures, arms, methods, processing, metrics)``; outcomes: ``(pictures, arms, 3)``.
    """

    header: Mapping[str, Any]
    configuration: Configuration
    pictures: tuple[tuple[str, str, str], ...]
    scores: np.ndarray
    outcomes: np.ndarray


def read_results(source: Path | BinaryIO) -> Results:
    """Return what a run's ``results.parquet`` holds; it may come from anybody.

    Raises:
        ConfigError: it is something else.
    """
    try:
        with pq.ParquetFile(source) as file:
            header = json.loads((file.schema_arrow.metadata or {})[HEADER.encode()])
            configuration = Configuration.from_header(header)
            cells = len(configuration.arms) * len(configuration.methods) * len(configuration.processing)
            count, rest = divmod(file.metadata.num_rows, cells)
            if rest or not count or file.metadata.num_rows > MOST_ROWS:
                raise ValueError(f"{file.metadata.num_rows} rows")
            names = ["picture", "sha256", "trigger", *configuration.kind.metrics, *OUTCOMES]
            table = file.read(columns=names)
        whole = (count, *map(len, (configuration.arms, configuration.methods, configuration.processing)))
        columns = {name: table[name].to_numpy() for name in names}
        stacked = [
            np.stack([columns[name].astype(float) for name in part], -1).reshape(*whole, -1)
            for part in (configuration.kind.metrics, OUTCOMES)
        ]
        pictures = zip(*(map(str, columns[name][::cells]) for name in names[:3]), strict=True)
    except SpadeError:
        raise  # its sentence names what is unknown here
    except _DAMAGED as error:
        raise ConfigError("This is no results.parquet that `benchmark` wrote: choose the one of its --out.") from error
    return Results(header, configuration, tuple(pictures), stacked[0], stacked[1][:, :, 0, 0])
