"""A folder of tiny pictures, and a search on them that takes a moment."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spade_core.tuning.configuration import Tuning

SETTINGS = {
    "objective": "insertion-deletion",
    "methods": ("saliency", "input_x_gradient"),
    "ratios": (0.0, 0.5, 0.8),
    "trace": {"views": 2, "solver": "magnitude"},
    "threads": 1,
}


def quick(**changes):
    return Tuning(**{**SETTINGS, **changes})


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(made / f"{number}.png")
    return made
