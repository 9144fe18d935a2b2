"""What the browser gets of a map: bytes that stand for its values, and the colours of the figures' scales."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from matplotlib import colormaps
from streamlit.testing.v1 import AppTest

from spade_core.pictures.scales import DIFFERENCE, MAGNITUDE, SIGNED, SPREAD
from spade_core.ui.saliency.grid import levels


def test_levels_stand_for_values_within_half_a_step_and_zero_stays_zero():
    values = np.array([[-2.0, -1.0, -0.5, 0.0], [0.5, 1.0, 2.0, np.nan]])
    told = levels(values, SIGNED)
    assert told.dtype == np.uint8
    np.testing.assert_allclose((told.astype(float) - 127) / 127, np.clip(np.nan_to_num(values), -1, 1), atol=0.5 / 127)
    assert told[0, 3] == 127
    np.testing.assert_array_equal(levels(values, MAGNITUDE)[1], [128, 255, 255, 0])


@pytest.mark.parametrize("scale", [MAGNITUDE, SIGNED, DIFFERENCE, SPREAD])
def test_a_scales_colours_are_matplotlibs(scale):
    told = np.frombuffer(scale.palette(), np.uint8).reshape(256, 3)
    np.testing.assert_allclose(told, 255 * colormaps[scale.colours](np.arange(256))[:, :3], atol=0.51)


def test_each_scale_has_one_meaning():
    assert len({scale.colours for scale in (MAGNITUDE, SIGNED, DIFFERENCE, SPREAD)}) == 4


def drawn():
    import numpy as np

    from spade_core.ui.saliency.grid import Chip, Panel, Row, show_grid

    values = np.linspace(0, 2, 12).reshape(3, 4)
    panels = [Panel("Dense", "words", values, "magnitude", 2.0)]
    row = Row("lime", "LIME <b>", "what it is", panels, [Chip("a chip", "good")], ["a note"], pair=False)
    show_grid([np.zeros((3, 4, 3), np.uint8)], [row], pending=["Occlusion"], key="grid")


def test_a_row_travels_whole():
    app = AppTest.from_function(drawn, default_timeout=300).run()
    assert not app.exception
    data = json.loads(app.get("bidi_component")[0].proto.json)
    (row,) = data["rows"]
    assert (row["title"], row["shape"], row["notes"], row["pair"]) == ("LIME <b>", [3, 4], ["a note"], False)
    assert row["chips"] == [{"text": "a chip", "tone": "good"}]
    assert list(base64.b64decode(row["panels"][0]["values"]))[::11] == [0, 255]
    assert data["pending"] == ["Occlusion"]
    assert data["pictures"][0].startswith("data:image/jpeg;base64,")
    assert data["scales"]["difference"]["low"] == "dense"
