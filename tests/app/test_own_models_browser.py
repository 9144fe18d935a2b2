"""One own model in each of four ways, from its files to its maps, in headless Chromium."""

from __future__ import annotations

import os

import pytest

from benchmarks.own_models import CLASSES, WAYS, by_page, make
from benchmarks.serving import start_server, stop_server
from tests.app.test_browser import ONE_WORKER

pytestmark = pytest.mark.browser
NEEDED = {"transformers": "transformers", "onnx": "onnx2torch"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    given = {"SPADE_DATA_DIR": str(tmp_path_factory.mktemp("data")), "SPADE_ALLOW_WEIGHTS_UPLOAD": "1"}
    process, url = start_server("app.py", given, first=ONE_WORKER)
    yield url
    stop_server(process)


@pytest.mark.parametrize("way", WAYS)
def test_an_own_model_is_brought_from_its_files_to_its_maps(page, server, tmp_path, way):
    if way in NEEDED and "CI" not in os.environ:
        pytest.importorskip(NEEDED[way], reason="not installed: pip install -r requirements-models.txt")
    ready, first, everything = by_page(page, server, make(way, tmp_path / way))
    assert ready > 0
    assert 0 < first <= everything
    assert any(f"Why {name}?" in page.inner_text("[data-testid=stMain]") for name in CLASSES)
    assert not page.get_by_test_id("stAlertContentError").count()
