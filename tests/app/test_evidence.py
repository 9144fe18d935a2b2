"""The page of the evidence, and what is said of it beside maps."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from spade_core.evaluation import evidence as module
from spade_core.evaluation.records import RECORDS, RESULTS
from tests.app.conftest import LONG
from tests.evaluation.conftest import written_run

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(params=[True, False])
def folder(request, tmp_path, monkeypatch):
    """A folder with a run in it, or an empty one."""
    monkeypatch.setenv("SPADE_JOBS", "inline")
    run = written_run(tmp_path)
    module.shipped.cache_clear()
    monkeypatch.setattr(module, "FOLDER", run.parent)
    (run.parent / "paper.json").write_bytes((ROOT / "assets" / "evidence" / "paper.json").read_bytes())
    if not request.param:
        run.unlink()
    yield request.param
    module.shipped.cache_clear()


def test_the_page_shows_a_run_or_asks_for_one(folder):
    app = AppTest.from_file(ROOT / "home.py", default_timeout=LONG / 1000).run()
    app.switch_page("pages/evidence.py").run()
    assert not app.exception
    assert not app.error
    if not folder:
        assert "benchmark trojan" in app.caption[-1].value
        return
    assert app.selectbox(key="evidence_run").options[0] == "Trojan · small · 6 pictures, 2 arms"
    assert {metric.label for metric in app.metric} >= {"Dense error removed", "Class kept"}
    table = app.dataframe[0].value
    assert list(table.Method) == ["Saliency (gradient)", "LRP", "Mean of 2"]
    app.selectbox(key="evidence_processing").set_value("Blur 2 px").run()
    assert list(app.dataframe[0].value.Dense) != list(table.Dense)
    assert list(app.dataframe[1].value.Picture) == [f"{at}.png" for at in range(6)]


def test_a_folder_of_results_is_opened_by_its_own_user_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("SPADE_JOBS", "inline")
    run = written_run(tmp_path)
    shut = tmp_path / "shut"
    shut.mkdir()
    run.rename(shut / RESULTS)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / RECORDS).write_text("{}")
    app = AppTest.from_file(ROOT / "home.py", default_timeout=LONG / 1000).run()
    app.switch_page("pages/evidence.py").run()
    assert not [title for title in app.selectbox(key="evidence_run").options if "folder" in title]
    monkeypatch.setattr("spade_core.ui.common.pickers.folder.is_local", lambda evidence: True)
    app.run()
    app.selectbox(key="evidence_run").set_value("folder").run()
    for typed, said in (
        ("results", "from / on"),
        ("~nobody-here/results", "from / on"),
        (str(tmp_path / "none"), "is absent"),
        ("/" + "a" * 5000, "is absent"),
        (str(begun), "has not ended"),
    ):
        app.text_input(key="evidence_folder").set_value(typed).run()
        assert not app.exception
        assert [said in error.value for error in app.error] == [True]
    app.text_input(key="evidence_folder").set_value(str(shut)).run()
    assert not app.error
    assert list(app.dataframe[1].value.Picture) == [f"{at}.png" for at in range(6)]
    (shut / RESULTS).write_bytes(b"nothing")
    app.run()
    assert ["no results.parquet" in error.value for error in app.error] == [True]


def test_shipped_runs_are_told_apart_by_their_titles(monkeypatch):
    monkeypatch.setenv("SPADE_JOBS", "inline")
    module.shipped.cache_clear()
    app = AppTest.from_file(ROOT / "home.py", default_timeout=LONG / 1000).run()
    app.switch_page("pages/evidence.py").run()
    titles = app.selectbox(key="evidence_run").options[: len(module.shipped())]
    assert [title for title in titles if title.startswith("Faithfulness · Absolute sum · efficientnet_lite0")]
    assert len(set(titles)) == len(titles) == 4
