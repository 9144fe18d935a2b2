"""The page of the evidence, and what is said of it beside maps."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from spade_core.evaluation import evidence as module
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


def test_badges_are_green_only_where_the_interval_excludes_zero():
    def draw():
        from spade_core.evaluation.evidence import Claim
        from spade_core.saliency.metrics import Interval
        from spade_core.ui.common.panels import show_claims

        bounds = {"raw": (74, 70, 77), "abs": (3, -1, 8), "blur2": (-9, -14, -2)}
        show_claims([Claim(slug, Interval(*map(float, three), 103)) for slug, three in bounds.items()])

    said = AppTest.from_function(draw).run().caption[0].value
    assert ":green-badge[As it is: 74 % (70 to 77)]" in said
    assert ":gray-badge[Absolute sum: 3 % (-1 to 8)]" in said
    assert ":red-badge[Blur 2 px: -9 % (-14 to -2)]" in said
    assert "103 triggered pictures" in said
