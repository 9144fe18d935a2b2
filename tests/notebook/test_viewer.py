"""The notebook's viewer: what it is given, and what it does without its library."""

from __future__ import annotations

import base64
import sys

import numpy as np
import pytest

import spade_core as sc
from spade_core.errors import ConfigError
from spade_core.saliency import top_of
from tests.notebook.conftest import BAD


def test_without_its_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "spade_core.notebook.viewer", raising=False)
    with pytest.raises(ConfigError, match="The viewer needs anywidget"):
        sc.view(None)


class TestViewer:
    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("anywidget", reason="not installed: pip install -r requirements-notebook.txt")

    def test_it_holds_the_values_of_every_map(self, analysis):
        viewer = sc.view(analysis)
        assert viewer.method == "saliency"
        assert [pair["slug"] for pair in viewer.pairs] == list(analysis.pairs)
        for pair, found in zip(viewer.pairs, analysis.pairs.values(), strict=True):
            for side, item in found.sides.items():
                values = np.frombuffer(base64.b64decode(pair[side]["values"]), "<f4").reshape(viewer.shape)
                assert np.allclose(values * pair[side]["top"], item.map, rtol=1e-6, atol=0)
                assert pair[side]["top"] == top_of(item.map)

    def test_only_a_method_that_is_there_can_be_chosen(self, analysis):
        viewer = sc.view(analysis)
        viewer.method = "input_x_gradient"
        with pytest.raises(Exception, match="take one of saliency, input_x_gradient"):
            viewer.method = "lime"

    def test_it_shows_drawings_and_refuses_the_rest(self, visualization):
        viewer = sc.view(visualization)
        (pair,) = viewer.pairs
        assert (pair["dense"]["values"], pair["alt"], pair["notes"]) == ("", visualization.title, [BAD])
        with pytest.raises(ConfigError, match="shows no Trace"):
            sc.view(visualization.trace)
