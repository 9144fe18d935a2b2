"""The pages, driven without a browser; jobs run in the calling thread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from spade_core.errors import ConfigError
from spade_core.ui.link import Choice
from spade_core.ui.panels import command_line
from spade_core.ui.plots import pair_figure
from tests.hostile import hostile_files

ROOT = Path(__file__).resolve().parent.parent.parent
SALIENCY = "pages/saliency.py"
QUICK = {
    "methods": "saliency,input_x_gradient",
    "picture": "bundled:coffee",
    "preset": "uniform",
    "sparsity": "0.3",
    "views": "2",
    "solver": "magnitude",
}


@pytest.fixture(autouse=True)
def inline(monkeypatch):
    monkeypatch.setenv("SPADE_JOBS", "inline")
    monkeypatch.setenv("SPADE_DEVICE", "cpu")


def page(path=SALIENCY, **query):
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120).run()
    if path == "app.py":
        return app
    app.switch_page(path)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def texts(app):
    return " ".join(
        str(item.value) for kind in ("markdown", "caption", "info", "warning", "error") for item in app.get(kind)
    )


def test_home_says_what_this_is():
    app = page("app.py")
    assert not app.exception
    assert "See why" in app.title[0].value
    assert "prunes a **copy**" in texts(app)


def test_the_page_waits_for_a_click_and_shows_the_prediction():
    app = page()
    assert not app.exception
    assert "Press **Run SPADE**" in app.info[0].value
    assert "What efficientnet_lite0 predicts" in texts(app)
    assert app.selectbox(key="target").options[0].startswith("German shepherd")


def test_a_click_gives_maps_fidelity_link_and_command():
    app = page()
    app.selectbox(key="picture").select("coffee").run()
    app.multiselect(key="methods").set_value(["saliency"]).run()
    app.selectbox(key="preset").select("uniform").run()
    app.slider(key="sparsity").set_value(0.3).run()
    app.selectbox(key="solver").select("magnitude").run()
    app.selectbox(key="views").select(8).run()
    app.button(key="run").click().run()
    assert not app.exception
    assert not app.error, app.error[0].value
    metrics = {item.label: item.value for item in app.metric}
    assert metrics["Explained class"] == "espresso"
    assert float(metrics["Weights removed"].rstrip("%")) == pytest.approx(30, abs=0.1)
    assert "Saliency (gradient)" in texts(app)
    assert "0.3" in app.query_params["sparsity"]
    assert "--sparsity 0.3" in app.code[0].value
    assert "--image bundled:coffee" in app.code[0].value


def test_a_link_opens_the_analysis():
    app = page(**QUICK)
    assert not app.exception
    assert not app.error, app.error[0].value
    assert app.selectbox(key="picture").value == "coffee"
    assert app.slider(key="sparsity").value == 0.3
    assert "Explained class" in {item.label for item in app.metric}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "resnet99"),
        ("picture", "unicorn"),
        ("sparsity", "2"),
        ("views", "0"),
        ("methods", "magic"),
        ("target", "x"),
        ("stages", "blocks.1:9"),
        ("seed", "-1"),
    ],
)
def test_a_bad_link_says_so_and_the_page_works(name, value):
    app = page(**{name: value})
    assert not app.exception
    assert len(app.error) == 1
    assert app.error[0].value.endswith(".")
    assert app.button(key="run") is not None


def test_uploads_are_shown_and_hostile_ones_get_a_sentence(tmp_path):
    app = page()
    app.selectbox(key="picture").select("upload").run()
    assert "Choose a model and a picture" in app.info[0].value
    for name, data, _ in hostile_files(tmp_path)[:12]:
        if len(data) > 2**20:
            continue
        app.file_uploader(key="picture_file").set_value((name, data, "image/png")).run()
        assert not app.exception, name
        assert len(app.error) == 1, name
        assert app.error[0].value.endswith(".")
    from spade_core.images import bundled

    good = bundled()["cat"].path.read_bytes()
    app.file_uploader(key="picture_file").set_value(("mine.jpg", good, "image/jpeg")).run()
    assert not app.error
    assert "Press **Run SPADE**" in app.info[0].value


def test_weights_upload_is_off_unless_allowed(monkeypatch):
    assert "own weights" not in page().selectbox(key="model").options
    monkeypatch.setenv("SPADE_ALLOW_WEIGHTS_UPLOAD", "1")
    app = page()
    assert "own weights" in app.selectbox(key="model").options
    app.selectbox(key="model").select("own weights").run()
    assert not app.exception


def test_an_unreachable_model_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    app = page(model="resnet18")
    assert not app.exception
    assert "efficientnet_lite0 works" in app.error[0].value


def test_a_bad_setting_is_one_sentence(monkeypatch):
    monkeypatch.setenv("SPADE_RESULTS_BYTES", "plenty")
    app = page()
    assert "SPADE_RESULTS_BYTES='plenty'" in app.error[0].value


def test_links_round_trip():
    choice = Choice(
        "resnet18",
        "bundled:cat",
        3,
        "custom",
        None,
        {"layer1": 0.5, "fc": 0.25},
        "spade",
        "independent",
        64,
        7,
        ("lime",),
    )
    assert Choice.from_query(json.loads(json.dumps(choice.to_query()))) == choice
    assert Choice.from_query(Choice().to_query()) == Choice()
    with pytest.raises(ConfigError, match="unknown solver"):
        Choice.from_query({"solver": "x"})


def test_the_command_line_is_complete():
    choice = Choice(preset="custom", stages={"blocks.1": 0.5}, target=3, views=8, methods=("saliency", "lime"))
    words = command_line(choice, {"name": "efficientnet_lite0"}, "my picture.png")
    assert "'my picture.png'" in words
    for part in ("--stage blocks.1=0.5", "--target 3", "--views 8", "--method lime", "--out results"):
        assert part in words
    assert "--weights FILE --arch resnet18" in command_line(Choice(), {"weights": "x", "arch": "resnet18"}, "a.png")


def test_panels_share_one_scale_centred_on_zero():
    import numpy as np

    rng = np.random.default_rng(0)
    dense, spade = rng.normal(size=(2, 8, 8))
    figure = pair_figure(np.zeros((8, 8, 3), np.uint8), dense, spade, signed=True, opacity=0.5, title="t")
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    heat = [trace for trace in figure.data if trace.type == "heatmap"]
    assert [trace.coloraxis for trace in heat] == ["coloraxis", "coloraxis", "coloraxis2"]
    np.testing.assert_allclose(np.array(heat[2].z), (spade - dense).astype(np.float32), rtol=1e-6)
    assert {axis.matches for axis in figure.select_xaxes()} == {"x"}
