"""The head of a result: a change of probability in points, with a colour and an arrow only where it is one."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def shown(change):
    from spade_core.pruning.report import Fidelity
    from spade_core.ui.common.panels import show_fidelity

    before, after = [(3, 0.5)], [(3, 0.5 + change)]
    fidelity = Fidelity(3, "dog, hound", 0.5, 0.5 + change, before, after, 0.0)
    show_fidelity({"fidelity": vars(fidelity), "sparsity": 0.5}, 1.0)


@pytest.mark.parametrize(
    ("change", "words", "coloured"),
    [
        (0.0, "as in the dense model", False),
        (0.0004, "as in the dense model", False),
        (0.001, "+0.1 points against dense", False),
        (-0.009, "-0.9 points against dense", False),
        (0.02, "+2.0 points against dense", True),
        (-0.3, "-30.0 points against dense", True),
    ],
)
def test_a_change_within_a_point_alarms_nobody(change, words, coloured):
    app = AppTest.from_function(shown, args=(change,), default_timeout=300).run()
    assert not app.exception
    metric = app.metric[1]
    assert metric.delta == words
    grey, no_arrow = metric.proto.GRAY, metric.proto.NONE
    assert (metric.proto.color == grey, metric.proto.direction == no_arrow) == (not coloured, not coloured)


def drawn():
    from spade_core.ui.common.panels import show_chart, top_figure

    show_chart(top_figure(["dog"], [0.5]), "top")


def test_no_tip_stays_over_a_chart():
    import json

    app = AppTest.from_function(drawn, default_timeout=300).run()
    assert json.loads(app.get("plotly_chart")[0].proto.config)["showTips"] is False
