"""The curves of necessity and sufficiency, and what can be taken out."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from spade_core.inspection import Knockout
from spade_core.ui.trace.interventions import knockout_figure

STEPS = [
    Knockout(0.0, 0.9, 0.9, (0.9, 0.9, 0.9), (0.9, 0.9, 0.9)),
    Knockout(1.0, 0.1, 0.8, (0.4, 0.2, 0.6), (0.3, 0.1, 0.5)),
]


def test_a_curve_lies_beside_that_of_random_masks_and_their_band():
    high, low, mean, own = knockout_figure(STEPS, kept=True).data
    assert (list(own.y), list(mean.y), list(low.y), list(high.y)) == ([0.9, 0.1], [0.9, 0.4], [0.9, 0.2], [0.9, 0.6])
    assert own.name == "what the trace keeps"
    *_, mean, own = knockout_figure(STEPS, kept=False).data
    assert (own.name, list(own.y), list(mean.y)) == ("what the trace removes", [0.9, 0.8], [0.9, 0.3])


def test_channels_layers_and_the_strongest_path_can_be_taken_out():
    def draw():
        import streamlit as st

        from spade_core.inspection import Edge, Paths
        from spade_core.ui.trace.interventions import pick_cuts

        edges = Edge("blocks.0", 3, "head", 7, 1.0), Edge("act", 1, "head", 7, 2.0)
        st.session_state.cuts = pick_cuts(
            Paths(edges, (("head", 7),), ("head", "act", "blocks.0"), ()), ["blocks.0", "head"]
        )

    app = AppTest.from_function(draw).run()
    assert app.session_state.cuts == []
    (channel,) = app.multiselect(key="cut_channels").options
    assert "channel 3" in channel
    app.multiselect(key="cut_channels").set_value([("blocks.0", 3)]).run()
    assert [(cut.layer, cut.channel) for cut in app.session_state.cuts] == [("blocks.0", 3)]
    app.segmented_control(key="cut_what").set_value("A layer").run()
    assert [(cut.layer, cut.channel) for cut in app.session_state.cuts] == [("head", None)]
    app.segmented_control(key="cut_what").set_value("The strongest path").run()
    assert app.session_state.cuts == [], "what has no weights cannot be cut"
