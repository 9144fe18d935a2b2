"""Results with hostile names: of an analysis, of a drawing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import spade_core as sc
from spade_core.neurons import Neuron
from spade_core.neurons.rendering import Rendering
from spade_core.results.drawing import Visualization

BAD = "<script>alert('cat')</script>"


@pytest.fixture(scope="module")
def analysis(small, noise):
    hostile = replace(small, name=BAD, labels=tuple(f"{BAD}{index}" for index in range(len(small.labels))))
    picture = replace(noise, name=BAD)
    return sc.analyse(hostile, picture, sc.AnalysisConfig(("saliency", "input_x_gradient"), trace={"views": 2}))


@pytest.fixture(scope="module")
def drawing():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Rendering(image, np.array([0.0, 2.5]), Neuron(BAD, 3), 0, 2, None, 0.1, (BAD,))


@pytest.fixture(scope="module")
def visualization(analysis, drawing):
    config = sc.VisualizeConfig()
    return Visualization(analysis.picture, config, analysis.trace, drawing, drawing, (0, 0, 1, 1), 0.5, 1.0)
