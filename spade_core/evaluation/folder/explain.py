"""Maps and fidelity of all pictures of a folder, by the benchmarks' engine: what ``explain`` makes of one, for many.

It is the benchmark ``faithfulness`` with two arms, whose maps are kept. What each picture gains is by how many points
SPADE's map is more faithful than the dense one: insertion minus deletion (Petsiuk et al. 2018), read on the dense
model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spade_core.evaluation.arms import of_bundle
from spade_core.evaluation.configuration import THREADS, Configuration
from spade_core.evaluation.engine import Outcome, run
from spade_core.evaluation.folder.report import write_page
from spade_core.evaluation.folder.rows import Row, csv_text
from spade_core.evaluation.records import Record
from spade_core.evaluation.statistics import DENSE
from spade_core.files import write_whole
from spade_core.models.loaded import LoadedModel
from spade_core.progress import Progress, silent, span
from spade_core.pruning.options import BundleOptions

BENCHMARK = "faithfulness"
CSV = "pictures.csv"
MEASURING = 0.99  # of the progress; the rest are the tables


@dataclass(frozen=True, eq=False)
class Explained:
    """What was found in a folder.

    Attributes:
        rows: of each picture in the order of the names, those that do not count among them.
        outcome: of the benchmark, with its statistics and its folder.
    """

    rows: tuple[Row, ...]
    outcome: Outcome

    @property
    def left_out(self) -> list[Row]:
        """The pictures that do not count."""
        return [row for row in self.rows if row.left_out]


def configuration_of(
    methods: Sequence[str],
    trace: Mapping[str, object] | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    *,
    bundle: BundleOptions | None = None,
    seed: int = 0,
    threads: int = THREADS,
) -> Configuration:
    """Return the benchmark's configuration.

    Args:
        methods: slugs of ``METHODS``.
        trace: options of ``spade_core.trace``; options: method slug -> options of the method.
        bundle: how many traces a map is made of, and how; beside means of magnitudes the dense map is its magnitudes.
        seed: a picture's own is drawn by it and by the picture's sha256; threads: of torch, which decide the last bits.

    Raises:
        ConfigError: a slug is unknown, or an option cannot be used.
    """
    arms = DENSE, of_bundle(bundle or BundleOptions())
    return Configuration(BENCHMARK, tuple(methods), arms, ("raw",), trace or {}, seed, threads, options or {})


def explain_folder(
    model: LoadedModel,
    images: str | Path,
    out: str | Path,
    configuration: Configuration,
    *,
    limit: int | None = None,
    on_row: Callable[[Row], object] = lambda _: None,
    progress: Progress = silent,
) -> Explained:
    """Explain every picture of a folder, and go on where an earlier run of the same configuration stopped.

    What is no picture that can be read is listed with its sentence, and ends nothing.

    Args:
        model: read-only.
        images: folder; out: folder of ``maps``, ``pictures.csv``, ``pictures.html`` and the benchmark's own files.
        configuration: of :func:`configuration_of`.
        limit: at most how many pictures, spread over the folder.
        on_row: called with the row of each picture, those of an earlier run first.
        progress: called with (done, 1, note); may raise ``Cancelled``, and what was measured is kept.

    Raises:
        ConfigError: a value cannot be used, no picture counts, or ``out`` holds something else.
        LayerError: a method cannot be applied to this architecture.
    """
    chosen = configuration.for_model(model)
    rows: dict[str, Row] = {}

    def told(record: Record) -> None:
        rows[record.picture] = Row.of(record, chosen)
        on_row(rows[record.picture])

    part = span(progress, 0.0, MEASURING)
    outcome = run(model, images, out, chosen, limit=limit, keep_maps=True, on_record=told, progress=part)
    found = Explained(tuple(rows[name] for name in sorted(rows)), outcome)
    write_whole(outcome.folder / CSV, csv_text(found.rows, chosen.methods).encode())
    header = chosen.header(model, [row.picture for row in found.rows])
    write_page(found.rows, outcome.statistics, header, outcome.folder)
    progress(1.0, 1.0, "done")
    return found
