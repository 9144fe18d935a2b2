"""The fields of a trace's options: what a link said is where they begin, and what has no field stays as it was said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

PAGE = """
import streamlit as st
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers import pick_trace

start = Choice.from_query({query})
choice = pick_trace(Choice(), start, ["stem", "a", "b"], {tuned})
st.json(choice.trace_arguments())
"""
TUNED = {"chosen": "", "stages": {"a": 0.5, "b": 0.25}, "depthwise": 0.0, "options": {"views": 8}}


def shown(query, tuned=None):
    app = AppTest.from_string(PAGE.format(query=query, tuned=tuned), default_timeout=60).run()
    assert not app.exception
    return app


def chosen(app):
    return json.loads(app.json[0].value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"preset": "default", "solver": "fastspade", "seed": 0}),
        (
            {
                "untouched": "0",
                "damping": "0.05",
                "block_size": "32",
                "first_layer": "1",
                "positions": "0",
                "seed": "3",
            },
            {
                "preset": "default",
                "solver": "fastspade",
                "untouched": 0,
                "damping": 0.05,
                "block_size": 32,
                "first_layer": True,
                "positions": 0,
                "seed": 3,
            },
        ),
        (
            {"preset": "uniform", "sparsity": "0.25", "solver": "spade", "calibration": "independent", "views": "5"},
            {
                "preset": "uniform",
                "sparsity": 0.25,
                "solver": "spade",
                "calibration": "independent",
                "views": 5,
                "seed": 0,
            },
        ),
    ],
)
def test_what_a_link_says_of_a_trace_is_kept(query, expected):
    assert chosen(shown(query)) == expected


def test_the_fields_of_a_ratio_come_with_its_preset():
    app = shown({}, TUNED)
    assert {item.key for item in app.selectbox} == {"preset", "solver", "calibration", "views", "weighting"}
    assert not app.slider
    assert "the preset's (8)" in app.selectbox(key="views").options
    app.selectbox(key="preset").select("uniform").run()
    assert [item.key for item in app.slider] == ["sparsity"]
    assert chosen(app)["sparsity"] == 0.5
    app.selectbox(key="preset").select("custom").run()
    assert [item.key for item in app.slider] == ["stage_a", "stage_b"]
    app.slider(key="stage_a").set_value(0.75).run()
    assert chosen(app)["stages"] == {"a": 0.75, "b": 0.25}
    assert "sparsity" not in chosen(app)


def test_the_order_and_the_words_of_the_page():
    app = shown({})
    assert app.selectbox(key="calibration").options == ["the preset's", "sequential", "independent"]
    assert app.selectbox(key="views").options[:3] == ["the preset's (16)", "8", "16"]
    assert app.selectbox(key="views").options[-1] == "1,024"
    titles = ["FastSPADE", "SPADE (exact)", "SPADE (exact, by row)", "ADMM", "Magnitude", "Random"]
    assert app.selectbox(key="solver").options == titles
    assert [item.value for item in app.caption] == ["Ratios tuned for this model; 'auto' where no table exists."]


def test_uploaded_folders_are_kept_under_names_that_their_library_reads(tmp_path, monkeypatch):
    from spade_core.errors import ModelError
    from spade_core.ui.common.pickers import model

    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path))
    data = {"config.json": b"{}", "preprocessor_config.json": b"{}"}
    kept = Path(model._keep_folder("../../my vit.safetensors", b"weights", data))
    assert (kept.name, kept.parents[1]) == ("my_vit", tmp_path / "weights")
    assert {one.name: one.read_bytes() for one in kept.iterdir()} == {"model.safetensors": b"weights", **data}
    assert model._keep_folder("../../my vit.safetensors", b"weights", data) == str(kept)
    assert model._keep_folder("my vit.bin", b"weights", data) != str(kept)
    for name in ("../config.json", "adapter_config.json", "evil.py", "model.safetensors"):
        with pytest.raises(ModelError, match="is not read"):
            model._keep_folder("a.safetensors", b"", {name: b"{}"})


@pytest.mark.parametrize(("mode", "offered"), [("local", True), ("lab", True), ("demo", False)])
def test_hub_names_are_offered_where_files_may_be_brought(monkeypatch, mode, offered):
    page = """
import streamlit as st
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers import pick_model

st.json(pick_model(Choice()) or {})
"""
    monkeypatch.setenv("SPADE_MODE", mode)
    app = AppTest.from_string(page, default_timeout=60).run()
    box = app.selectbox(key="model")
    assert ("hf-hub:…" in box.options) is offered
    if offered:
        box.set_value("hf-hub:…").run()
        app.text_input(key="hub_name").set_value(" someone/vit ").run()
        assert chosen(app) == {"name": "hf-hub:someone/vit"}


def test_methods_come_cheapest_first_whatever_a_links_order():
    page = """
import streamlit as st
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers import pick_methods

st.json(pick_methods(Choice.from_query({"methods": "lime,smoothgrad,gradcam"}), {}))
"""
    assert chosen(AppTest.from_string(page, default_timeout=60).run()) == ["gradcam", "smoothgrad", "lime"]


def test_methods_that_a_new_model_cannot_have_give_way_to_those_it_has():
    page = """
import streamlit as st
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers import pick_methods

unfit = {"lrp": "LRP knows no attention."} if st.checkbox("transformer", key="transformer") else {}
st.json(pick_methods(Choice.from_query({"methods": "lrp"}), unfit))
"""
    app = AppTest.from_string(page, default_timeout=60).run()
    assert chosen(app) == ["lrp"]
    app.checkbox(key="transformer").check().run()
    assert chosen(app) == app.multiselect(key="methods").value
    assert len(chosen(app)) == 1
    assert not app.exception
    assert not app.warning
    app.run()
    app.multiselect(key="methods").set_value([]).run()
    assert chosen(app) == []
    assert "Choose at least one method" in app.caption[0].value
