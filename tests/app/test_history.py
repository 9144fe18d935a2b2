"""Runs are noted for the browser, its Back is followed, and uploads lie side by side; on the small model."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from spade_core.pictures.picture import bundled
from spade_core.ui.common.link import Choice
from spade_core.ui.common.uploads import KEPT
from spade_core.ui.history.runs import LONGEST, MOST, PAGES
from tests.app.conftest import LONG, QUICK, ROOT

pytestmark = pytest.mark.usefixtures("inline")


def page(path="pages/saliency.py", **query):
    app = AppTest.from_file(str(ROOT / "home.py"), default_timeout=LONG / 1000).switch_page(path)
    app.query_params.update({**QUICK, **query})
    app.run()
    assert not app.exception
    return app


def told(app):
    """Return what the browser gets of runs: a run to note, or what it needs to list them."""
    found = [json.loads(item.proto.json) for item in app.get("bidi_component")]
    return [one for one in found if "most" in one]


def opened(app, query):
    """Let the address be another one, as Back does, and the browser empty the page; return the page drawn anew."""
    app.query_params.clear()
    app.query_params.update(query)
    emptied = app.run()
    assert not emptied.selectbox
    return app.run()


def test_back_restores_picture_class_and_result_of_the_run_before():
    app = page(picture="bundled:koala", target="2")
    app.button(key="run").click().run()
    first = dict(parse_qsl(told(app)[0]["run"]["query"]))
    assert Choice.from_query(first).picture == "bundled:koala"
    assert first == {name: "".join(value) for name, value in app.query_params.items()}
    app.selectbox(key="picture").select("coffee")
    app.slider(key="sparsity").set_value(0.6).run()
    app.button(key="run").click().run()
    second = dict(parse_qsl(told(app)[0]["run"]["query"]))
    assert (second["picture"], second["sparsity"]) == ("bundled:coffee", "0.6")
    for query, picture, sparsity in ((first, "koala", 0.5), (second, "coffee", 0.6)):
        app = opened(app, query)
        assert app.selectbox(key="picture").value == picture
        assert app.slider(key="sparsity").value == sparsity
        assert "Weights removed" in [item.label for item in app.metric]
        assert not [item for item in app.info if "previous choice" in item.value]
        assert told(app) == [], "only a click makes a run"
    app = opened(app, {**first, "sparsity": "0.4"})
    assert app.slider(key="sparsity").value == 0.4
    assert app.info[0].value.startswith("The result of this link is not kept on this server, or no longer. Press **Run")
    assert not app.metric


def test_the_list_says_its_limit_and_is_not_there_for_participants(monkeypatch):
    app = page("pages/history.py")
    assert told(app) == [{"most": MOST, "longest": LONGEST, "pages": PAGES}]
    assert f"The newest {MOST} runs" in app.caption[0].value
    monkeypatch.setenv("SPADE_MODE", "study")
    app = page("pages/history.py")
    assert told(app) == []
    assert "not here" in app.error[0].value


def upload(app, key, name, picture):
    return app.file_uploader(key=key).set_value((name, bundled()[picture].path.read_bytes(), "image/jpeg")).run()


def test_two_uploads_lie_beside_each_other_and_a_link_reopens_them():
    app = upload(page(picture="own:"), "picture_file", "mine.jpg", "koala")
    app.button(key="run").click().run()
    app.session_state["beside_open"] = True
    app.session_state["beside_kind"] = "picture"
    choice = next(box for box in app.run().selectbox if box.label == "Another picture")
    choice.select("upload").run()
    assert app.button(key="beside_run").disabled
    upload(app, "beside_file", "broken.jpg", "coffee").file_uploader(key="beside_file").set_value(
        ("broken.jpg", b"none", "image/jpeg")
    ).run()
    assert "broken.jpg is" in app.error[0].value
    upload(app, "beside_file", "other.jpg", "coffee").button(key="beside_run").click().run()
    link = {name: "".join(value) for name, value in app.query_params.items()}
    assert link["beside"].startswith("picture:own:")
    for shown in (app, page(**link)):
        assert not shown.error
        (row,) = json.loads(shown.get("bidi_component")[-1].proto.json)["rows"]
        assert [panel["name"] for panel in row["panels"]] == ["mine.jpg", "other.jpg"]
    KEPT.drop(link["beside"].removeprefix("picture:own:"))
    assert "The other picture, an upload, is no longer kept" in page(**link).warning[0].value
