"""The head of a result: a change of probability in points, with a colour and an arrow only where it is one; charts."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

import spade_core
from spade_core.ui.common import panels

PACKAGE = Path(spade_core.__file__).parent
SOURCES = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "pages").glob("*.py")]


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
    import plotly.graph_objects as go

    from spade_core.ui.common.panels import show_chart

    show_chart(go.Figure(go.Bar(y=[0.5])), "top", "Classes")


def test_no_tip_stays_over_a_chart():
    import json

    app = AppTest.from_function(drawn, default_timeout=300).run()
    assert json.loads(app.get("plotly_chart")[0].proto.config)["showTips"] is False


def test_classes_stand_as_text_beside_their_bars_whatever_they_are_called():
    said = panels.bars([("<b>dog</b> & cat", 0.5), ("owl", 0.00012)])
    assert "<span>&lt;b&gt;dog&lt;/b&gt; &amp; cat</span>" in said
    assert 'style="width:50.0%"' in said
    assert "<b>50.0%</b>" in said
    assert "<b>0.0%</b>" in said


@pytest.fixture
def alt(monkeypatch):
    """Return a function that gives the alternative text of a figure."""
    told = []
    monkeypatch.setattr(panels.st, "plotly_chart", lambda *_, alt, **__: told.append(alt))
    return lambda figure, what: panels.show_chart(figure, "key", what) or told[-1]


def test_a_chart_says_what_it_shows_and_the_ranges_of_its_lines(alt):
    figure = go.Figure([go.Scatter(y=[0.25, None, 0.5], name="trace"), go.Bar(y=[1, 3], name="dense")])
    figure.add_scatter(y=[9, 9])  # the band of one of them, say
    assert alt(figure, "Probability") == "Probability. trace: 0.25 to 0.5. dense: 1 to 3"


def test_the_only_line_is_called_as_its_axis_and_what_has_no_numbers_adds_nothing(alt):
    figure = go.Figure(go.Scatter(y=[2, 1], hovertext=["a", "b"])).update_yaxes(title="inputs")
    assert alt(figure, "Bars") == "Bars. inputs: 1 to 2"
    assert alt(go.Figure(go.Bar(y=["one", "two"], name="names")), "Bars") == "Bars"
    assert alt(go.Figure(), "Nothing") == "Nothing"


def test_no_chart_is_drawn_without_words():
    drawing = [file for file in SOURCES if ".plotly_chart(" in file.read_text(encoding="utf-8")]
    assert [file.relative_to(PACKAGE).as_posix() for file in drawing] == ["ui/common/panels.py"], "show_chart has words"
