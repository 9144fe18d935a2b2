"""What came from a browser into the columns of an export: of one kind, whatever was sent."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from spade_core.study.export.codebook import CODEBOOK
from spade_core.study.export.rows import TrialRow
from spade_core.study.running.answers import TrialDetails

COLUMNS = (
    "onset_utc",
    "input",
    "resizes",
    "confidence_rt_ms",
    "extra_rt_ms",
    "shown",
    "early_answers",
    "window_width",
    "window_height",
    "dpr",
)


def told(details):
    """Return what a row of the export has of a trial's details."""
    seen = TrialDetails.model_validate(details)
    row = SimpleNamespace(details=seen, resizes=TrialRow.resizes.fget(SimpleNamespace(details=seen)))
    return {name: CODEBOOK[name].of(row, name) for name in COLUMNS}


def test_details_from_outside_leave_every_column_of_one_kind(tmp_path):
    fine = {
        "onset_utc": "2026-01-02T03:04:05Z",
        "confidence_rt_ms": 812.5,
        "extra_rt_ms": 3000,
        "input": "key",
        "shown": 1,
        "early_answers": 2,
        "resizes": [{"ms": 1, "width": 2, "height": 3}],
        "width": 1400,
        "height": 900,
        "dpr": 2,
    }
    forged = {name: value for value, name in zip((3, "x", [1], {"a": 1}, True, None) * 2, fine, strict=False)}
    rows = pd.DataFrame([told(fine), told(forged), told({})])
    rows.to_parquet(tmp_path / "rows.parquet")
    assert rows.iloc[0].tolist() == [pytest.approx(1767323045.0), "key", 1, 812.5, 3000, 1, 2, 1400, 900, 2]
    assert rows.iloc[1].isna().all()
    assert rows.iloc[2].isna().all()
