"""The kind of job of the folder page."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import spade_core.tasks.common as common  # the package itself would name the sources of every kind of job
from spade_core.config import Settings
from spade_core.evaluation.folder.explain import CSV, configuration_of, explain_folder
from spade_core.evaluation.folder.maps import small_pictures
from spade_core.evaluation.folder.report import PAGE
from spade_core.evaluation.folder.rows import Row
from spade_core.evaluation.records import RECORDS, RESULTS
from spade_core.pictures.picture import Source, bundled
from spade_core.progress import Emit, Progress, span

UNFINISHED = 8  # runs whose maps stay for whoever goes on with them
LOADED = 0.01  # of the progress


class FolderPayload(common.ModelPayload):
    """The payload of :func:`folder`.

    ``config``: ``methods`` and their ``options``, ``trace`` (options of ``spade_core.trace``), ``seed``.
    """

    pictures: list[Source]
    config: dict[str, Any]


def folder(payload: FolderPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Explain pictures one after the other; return ``rows.json``, ``pictures.csv``, ``results.parquet``,
    ``pictures.html``, and small pictures, ``STEM.KEY.webp`` (see ``evaluation.folder``); emit them as they come.

    What a cancelled run has measured is kept, and the same request goes on there.
    """
    progress(0, 1, "loading the model")
    model, config = common.given_model(payload["model"], device), payload["config"]
    configuration = configuration_of(config["methods"], config["trace"], config.get("options"), seed=config["seed"])
    place = _place(payload)
    _lay_out(payload["pictures"], place / "pictures")
    rows: list[Row] = []
    small: dict[str, bytes] = {}

    def told(row: Row) -> None:
        rows.append(row)
        if row.maps:
            shown = small_pictures(place / "run" / row.maps, configuration.arms, configuration.methods)
            small.update({f"{PurePath(row.maps).stem}.{key}.webp": data for key, data in shown.items()})
        emit({"rows.json": _listed(rows), **small})

    part = span(progress, LOADED, 1.0)
    found = explain_folder(model, place / "pictures", place / "run", configuration, on_row=told, progress=part)
    files = {name: (place / "run" / name).read_bytes() for name in (CSV, RESULTS, PAGE)}
    shutil.rmtree(place, ignore_errors=True)
    return {**files, **small, "rows.json": _listed(found.rows)}


def _listed(rows: Sequence[Row]) -> bytes:
    return json.dumps([vars(row) for row in rows]).encode()


def _place(payload: FolderPayload) -> Path:
    """Return the folder of a run; of those that were left unfinished the oldest go."""
    root = Settings.from_environment().data_dir / "folders"
    place = root / hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()[:32]
    place.mkdir(0o700, parents=True, exist_ok=True)
    others = [path for path in root.iterdir() if path != place]
    for path in sorted(others, key=_last_use)[: -UNFINISHED + 1]:
        shutil.rmtree(path, ignore_errors=True)
    return place


def _last_use(place: Path) -> float:
    records = place / "run" / RECORDS
    return (records if records.is_file() else place).stat().st_mtime


def _lay_out(pictures: Sequence[Source], folder: Path) -> None:
    """Make a folder of links to the pictures, each under the name of its file."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for source in pictures:
        known = bundled().get(source["path"].removeprefix("bundled:"))
        path = Path(source["path"]) if known is None else known.path
        (folder / PurePath(source.get("name") or path.name).name).symlink_to(path.absolute())
