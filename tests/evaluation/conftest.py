"""A folder of tiny pictures, and a run on them that takes a moment."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

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
