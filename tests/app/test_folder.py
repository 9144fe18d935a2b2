"""The page of folders, driven without a browser; jobs run in the calling thread, on the small model."""

from __future__ import annotations

import io
import zipfile
from functools import partial

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from spade_core.evaluation.evidence import Evidence
from spade_core.jobs.manager import JobManager
from spade_core.pictures.picture import bundled
from spade_core.reports import folder_report
from spade_core.tasks import folders
from spade_core.ui.folder import sources, table
from tests.app.conftest import LONG, QUICK, ROOT


@pytest.fixture(autouse=True)
def one_thread(monkeypatch, inline):
    monkeypatch.setattr(folders, "configuration_of", partial(folders.configuration_of, threads=1))


def page(**query):
    app = AppTest.from_file(str(ROOT / "home.py"), default_timeout=LONG / 1000).switch_page("pages/folder.py")
    for name, value in {**QUICK, **query}.items():
        app.query_params[name] = value
    app.session_state["folder_download_command"] = True  # unfolded
    app.run()
    assert not app.exception
    return app


def run_folder(app, names=("dog", "koala")):
    app.multiselect(key="folder_bundled").set_value(list(names)).run()
    app.button(key="run_folder").click().run()
    assert not app.exception
    assert not app.error, app.error[0].value
    return app


def texts(app):
    return " ".join(str(item.value) for kind in ("markdown", "caption", "info", "error") for item in app.get(kind))


@pytest.fixture
def started(monkeypatch):
    """The kinds of jobs that were submitted, but for what every page asks."""
    kinds, submit = [], JobManager.submit

    def noted(self, kind, payload):
        if kind != "describe":
            kinds.append(kind)
        return submit(self, kind, payload)

    monkeypatch.setattr(JobManager, "submit", noted)
    return kinds


def test_a_link_starts_nothing_and_shows_what_is_kept(started, monkeypatch):
    monkeypatch.setattr(sources, "bundled", lambda: {name: bundled()[name] for name in ("coffee", "dog")})
    app = page()
    assert started == []
    assert "**2 pictures**" in texts(app)
    app.button(key="run_folder").click().run()
    assert started == ["folder"]
    assert dict(app.query_params)["methods"] == "saliency"
    assert len(page().dataframe[0].value) == 2
    assert started == ["folder"]
    assert len(page(sparsity="0.6").dataframe) == 0


def test_a_click_gives_the_table_and_leads_to_a_pictures_maps(monkeypatch):
    app = run_folder(page())
    (listed,) = (item.value for item in app.dataframe)
    assert list(listed.Name) == ["dog.jpg", "koala.jpg"]
    assert all(listed["SPADE map"].str.startswith("data:image/webp;base64,"))
    assert {item.label: item.value for item in app.metric}["Pictures"] == "2"
    assert "explain --images assets/pictures" in app.code[0].value
    files = app.session_state["folder_ticket"].result()
    assert folder_report(files, app.code[0].value).startswith(b"%PDF")
    assert len(app.get("download_button")) == 4
    app.selectbox(key="folder_order").set_value("Gain, highest first").run()
    assert list(app.dataframe[0].value.Gain) == sorted(listed.Gain, reverse=True)
    monkeypatch.setattr(table, "show_table", lambda view, files, arm: view.rows[0])
    app.run()
    row = app.dataframe
    assert len(row) == 0
    app.button(key="folder_open").click().run()
    assert app.title[0].value == "Saliency maps"
    assert app.selectbox(key="picture").value in ("dog", "koala")
    assert app.multiselect(key="methods").value == ["saliency"]
    assert app.selectbox(key="solver").value == "magnitude"


def test_the_methods_options_are_taken_told_and_kept(monkeypatch):
    app = run_folder(page(methods="forgrad", options="forgrad.cut:9"))
    assert "--option forgrad.cut=9" in app.code[0].value
    ran = Evidence.of(io.BytesIO(app.session_state["folder_ticket"].result()["results.parquet"]))
    assert ran.results.configuration.options == {"forgrad": {"cut": 9}}
    app.number_input(key="option_forgrad_cut").set_value(5).run()
    assert "--option forgrad.cut=9" in app.code[0].value, "what is shown was made so"


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return out.getvalue()


def png():
    out = io.BytesIO()
    Image.effect_noise((30, 20), 50).save(out, "PNG")
    return out.getvalue()


def test_a_zip_is_unpacked_once_and_its_bad_pictures_are_listed(monkeypatch):
    app = page()
    app.selectbox(key="folder_from").set_value(sources.ZIP).run()
    assert "Up to 200 pictures" in texts(app)
    app.file_uploader(key="folder_zip").upload(
        "trip.zip", zipped(a_png=png(), b_png=b"%PDF-1.4"), "application/zip"
    ).run()
    assert "**2 pictures**" in texts(app)
    monkeypatch.setattr(sources, "unpacked", None)
    app.button(key="run_folder").click().run()
    assert not app.exception
    assert list(app.dataframe[0].value.Name) == ["a.png"]
    assert "b.png is a PDF document" in texts(app)
    assert "explain --images trip.zip" in app.code[0].value
    assert not dict(app.query_params)
    monkeypatch.setattr(table, "show_table", lambda view, files, arm: view.rows[0])
    app.run()
    app.button(key="folder_open").click().run()
    assert not app.exception
    assert app.title[0].value == "Saliency maps"
    assert app.selectbox(key="picture").value == "upload"
    assert "a.png is kept while this server runs" in texts(app)
    assert not app.error


def test_an_archive_that_cannot_be_used_is_one_sentence():
    app = page()
    app.selectbox(key="folder_from").set_value(sources.ZIP).run()
    app.file_uploader(key="folder_zip").upload("trip.zip", b"nothing", "application/zip").run()
    assert ["no zip archive" in item.value for item in app.error] == [True]
    assert app.button(key="run_folder").disabled


def test_a_folder_of_the_computer_is_for_its_own_user(monkeypatch, tmp_path):
    assert sources.TYPED not in page().selectbox(key="folder_from").options
    monkeypatch.setattr("spade_core.ui.common.pickers.folder.is_local", lambda evidence: True)
    app = page()
    app.selectbox(key="folder_from").set_value(sources.TYPED).run()
    (tmp_path / "a.png").write_bytes(png())
    no_paths = [(typed, "from / on") for typed in ("a", "~nobody-here/a", "~a\0b")]
    absent = [(typed, "absent") for typed in (str(tmp_path / "none"), "/a\0b")]
    for typed, said in (*no_paths, *absent, (str(tmp_path), "**1 picture**")):
        app.text_input(key="folder_path").set_value(typed).run()
        assert said in texts(app)
    monkeypatch.setenv("SPADE_MODE", "demo")
    app = page()
    assert app.selectbox(key="folder_from").options == ["Bundled pictures"]
    assert len(app.multiselect(key="folder_bundled").value) == 6


def test_a_cancelled_run_goes_on_where_it_stopped(small, monkeypatch, tmp_path):
    from spade_core.evaluation import engine
    from spade_core.progress import Cancelled, silent

    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path))
    pictures = [{"path": f"bundled:{name}", "name": f"{name}.jpg"} for name in ("coffee", "dog", "koala")]
    config = {"methods": ["saliency"], "trace": {"sparsity": 0.5, "views": 2, "solver": "magnitude"}, "seed": 0}
    payload, measured, measure = (
        {"model": {"name": "plain"}, "pictures": pictures, "config": config},
        [],
        engine.measure,
    )
    monkeypatch.setattr(engine, "measure", lambda *given: measured.append(given[2]) or measure(*given))

    def stop(done, total, note):
        if "picture 3" in note:
            raise Cancelled

    emitted = []
    with pytest.raises(Cancelled):
        folders.folder(payload, emit=emitted.append, progress=stop, device="cpu")
    assert len(emitted) == 2
    files = folders.folder(payload, emit=lambda files: None, progress=silent, device="cpu")
    assert measured == ["coffee.jpg", "dog.jpg", "koala.jpg"]
    assert {name for name in files if name.endswith(".webp")} >= {name for name in emitted[1] if name.endswith(".webp")}
    assert list((tmp_path / "folders").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "share", "order", "names"),
    [
        ("All", "Any", "Gain, lowest first", "bca"),
        ("Class kept", "Any", "Name", "ab"),
        ("Class lost", "Any", "Name", "c"),
        ("All", "Higher half", "KL, highest first", "ca"),
        ("All", "Lower half", "KL, lowest first", "ba"),
        ("All", "Any", "Class lost first", "cab"),
    ],
)
def test_rows_are_filtered_and_sorted(kind, share, order, names):
    from spade_core.evaluation.folder.rows import Row

    rows = [
        Row("a", kept=1, kl=0.2, dense=0.9, trace=0.5, scores={"lrp": (1.0, 5.0)}),
        Row("b", kept=1, kl=0.1, dense=0.9, trace=0.9, scores={"lrp": (1.0, 0.0)}),
        Row("c", kept=0, kl=0.3, dense=0.9, trace=0.1, scores={"lrp": (1.0, 2.0)}),
    ]
    assert "".join(row.picture for row in table.shown_rows(rows, "lrp", kind, share, (-9, 9), order)) == names
    assert table.shown_rows(rows, "lrp", kind, share, (8, 9), order) == []
