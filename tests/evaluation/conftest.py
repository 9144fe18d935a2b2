"""A folder of tiny pictures, and a run on them that takes a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spade_core.evaluation import Configuration
from spade_core.evaluation.records import RESULTS, Record, write_tables

SETTINGS = {
    "methods": ("saliency", "input_x_gradient"),
    "arms": ("dense", "default"),
    "processing": ("raw", "blur2"),
    "trace": {"sparsity": 0.5, "views": 2, "solver": "magnitude"},
    "threads": 1,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(made / f"{number}.png")
    return made


def written_run(folder: Path, name: str = "run") -> Path:
    """Write a run of six pictures whose scores are drawn, and return its ``results.parquet``."""
    configuration = Configuration("trojan", ("saliency", "lrp"), ("dense", "default"), ("raw", "blur2"))
    scores = np.random.default_rng(0).uniform(50, 99, (6, 2, 2, 2, 3))
    records = [
        Record(
            f"{at}.png", f"sha{at}", "heart", "", scores[at], np.array([[1.0, 0, 0], [1, 0.1, 0.9]]), np.zeros((2, 3))
        )
        for at in range(6)
    ]
    header = {**vars(configuration), "model": "small", "weights": "weights"}
    write_tables(records, configuration, header, folder)
    (folder / "evidence").mkdir()
    return (folder / RESULTS).rename(folder / "evidence" / f"{name}.parquet")
