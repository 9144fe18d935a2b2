"""The command ``explain --images``: a folder, or a zip, of pictures."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spade_core.cli.common import Meter, emit
from spade_core.cli.options import bundle_options, trace_options
from spade_core.cli.subject import load
from spade_core.errors import ConfigError
from spade_core.evaluation.folder.explain import Explained, configuration_of, explain_folder
from spade_core.evaluation.folder.maps import small_pictures
from spade_core.evaluation.folder.rows import Row
from spade_core.evaluation.records import RESULTS, read_results
from spade_core.evaluation.statistics import DENSE, Statistics
from spade_core.files import write_whole
from spade_core.pictures.archive import Limits, unpacked
from spade_core.pictures.frame import CENTRE
from spade_core.reports import FOLDER_PDF
from spade_core.reports.folder import FolderContent, folder_pdf
from spade_core.saliency import METHOD_OPTIONS, METHODS

OWN = Limits(pictures=100_000, size=2**36)  # of an archive of one's own
OF_ONE = "target trigger trigger_size trigger_position"
"""Options that are said of one picture."""


def run_folder(options: argparse.Namespace) -> int:
    _check(options)
    methods, own = tuple(dict.fromkeys(options.method)), METHOD_OPTIONS.said(options.option)
    given = {"bundle": bundle_options(options), "seed": options.seed, "threads": options.threads}
    configuration = configuration_of(methods, trace_options(options), own, **given)
    with _folder(options.images) as folder:
        model = load(options)
        found = explain_folder(model, folder, options.out, configuration, limit=options.limit, progress=Meter())
    if options.report:
        _write_report(found)
    told = {"out": str(found.outcome.folder), "pictures": [asdict(row) for row in found.rows]}
    return emit(options, told, list(_lines(found)))


def _write_report(found: Explained) -> None:
    """Write the PDF beside the page, which is always there."""
    folder, chosen = found.outcome.folder, found.outcome.statistics.configuration
    header = read_results(folder / RESULTS).header

    def small(row: Row) -> dict[str, bytes]:
        return small_pictures(folder / row.maps, chosen.arms, chosen.methods)

    write_whole(folder / FOLDER_PDF, folder_pdf(FolderContent(found.rows, found.outcome.statistics, header, small)))


def _check(options: argparse.Namespace) -> None:
    """Refuse what is said of one picture only.

    Raises:
        ConfigError: some of it was given.
    """
    said = [name for name in OF_ONE.split() if getattr(options, name)]
    said += ["frame"] if options.frame != str(CENTRE) else []
    if said:
        raise ConfigError(f"--{said[0].replace('_', '-')} belongs to one picture: give it with --image, not --images.")


@contextmanager
def _folder(images: str) -> Iterator[Path]:
    """Give the folder of the pictures; those of an archive lie there while the block runs."""
    if not Path(images).is_file():
        yield Path(images)
        return
    with tempfile.TemporaryDirectory() as folder, Path(images).open("rb") as file:
        for name, data in unpacked(file, OWN):
            write_whole(Path(folder) / name, data)
        yield Path(folder)


def _lines(found: Explained) -> Iterator[str]:
    """Yield what people read of a folder."""
    statistics = found.outcome.statistics
    arm = statistics.configuration.arms[1]
    kept, (_, kl, sparsity) = statistics.kept(arm), statistics.outcomes[:, 1].T
    yield f"pictures          {statistics.pictures}, {len(found.left_out)} left out"
    yield f"class kept        {kept.mean:.0f} % [{kept.low:.0f}, {kept.high:.0f}]"
    yield f"KL divergence     {np.median(kl):.3g} nats (median)"
    yield f"sparsity          {sparsity.mean():.1%} of all weights"
    yield "gain              points of insertion minus deletion, SPADE minus dense [95 %]"
    yield from _gains(statistics, arm)
    yield f"written to        {found.outcome.folder}"
    for row in found.left_out:
        sys.stderr.write(f"left out: {row.left_out}\n")


def _gains(statistics: Statistics, arm: str) -> Iterator[str]:
    for at, slug in enumerate(statistics.configuration.methods):
        gain = statistics.difference(arm, DENSE, slice(at, at + 1), 0, 0)
        yield f"  {METHODS[slug].title}: {gain.mean:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"
