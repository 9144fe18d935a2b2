"""The pages, driven without a browser; jobs run in the calling thread."""

from __future__ import annotations

import io
import json
import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from spade_core.errors import ConfigError
from spade_core.jobs.manager import JobManager
from spade_core.pictures.picture import bundled
from spade_core.reports import FORMS
from spade_core.ui.common import subject
from spade_core.ui.common.command import explain_command
from spade_core.ui.common.link import Choice
from spade_core.ui.trace.plots import paths_figure, read_paths
from tests.app.conftest import LONG
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
    "calibration": "independent",
}


@pytest.fixture(autouse=True)
def inline(monkeypatch):
    monkeypatch.setenv("SPADE_JOBS", "inline")
    monkeypatch.setenv("SPADE_DEVICE", "cpu")


def page(path=SALIENCY, **query):
    app = AppTest.from_file(ROOT / "home.py", default_timeout=LONG / 1000).run()
    if path == "home.py":
        return app
    app.switch_page(path)
    app.session_state["download_command"] = app.session_state["get_command"] = True  # unfolded
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def pressed(key, path=SALIENCY, **query):
    """Open a link and press the page's button: a link alone starts nothing."""
    app = page(path, **query)
    assert not app.error, app.error[0].value
    return app.button(key=key).click().run()


def texts(app):
    said = [str(item.value) for kind in ("markdown", "caption", "info", "warning", "error") for item in app.get(kind)]
    return " ".join([*said, *(word for row in grid(app) for word in told(row))])


def grid(app):
    """Return the rows of the grid of maps, as the browser gets them."""
    found = [json.loads(item.proto.json) for item in app.get("bidi_component")]
    return [row for data in found for row in data.get("rows", ())]


def told(row):
    return [row["title"], row["help"], *row["notes"], *(chip["text"] for chip in row["chips"])]


def neuron_class(app):
    return next(box for box in app.selectbox if box.label == "Class neuron")


def class_field(app):
    return next(box for box in app.selectbox if box.label == "Class to explain")


def test_home_says_what_this_is():
    app = page("home.py")
    assert not app.exception
    assert "See why" in app.title[0].value
    assert "prunes a **copy**" in texts(app)


def test_the_page_waits_for_a_click_and_shows_the_prediction():
    app = page()
    assert not app.exception
    assert "Press **Run SPADE**" in app.info[0].value
    assert "What EfficientNet-Lite0 (embedded) predicts" in texts(app)
    assert "Why **German shepherd**?" in texts(app)
    assert not [one for one in app.sidebar.button if one.key == "run"], "a phone's sidebar is closed"
    assert class_field(app).options[0].startswith("German shepherd")


def test_a_click_gives_maps_fidelity_link_and_command():
    app = page()
    app.selectbox(key="picture").select("coffee").run()
    app.multiselect(key="methods").set_value(["smoothgrad"]).run()
    app.number_input(key="option_smoothgrad_samples").set_value(2).run()
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
    assert "SmoothGrad" in texts(app)
    assert app.query_params["options"] == "smoothgrad.samples:2"
    assert "--option smoothgrad.samples=2" in app.code[0].value
    assert "0.3" in app.query_params["sparsity"]
    assert "--sparsity 0.3" in app.code[0].value
    assert "--image bundled:coffee" in app.code[0].value


def test_what_is_folded_up_is_drawn_once_it_is_opened():
    app = pressed("run", **QUICK)
    assert not app.dataframe
    assert not app.get("plotly_chart")
    app.session_state["tops"] = app.session_state["layers"] = True
    app.session_state["download_command"] = False
    app.run()
    assert [list(table.value.columns) for table in app.dataframe[:2]] == [["class", "probability"]] * 2
    assert len(app.get("plotly_chart")) == 1
    assert not app.code


def test_the_class_to_explain_is_the_new_pictures_once_the_picture_changes():
    app = page(target="105", picture="bundled:koala")
    assert class_field(app).value is None, "the koala is predicted"
    class_field(app).select_index(2).run()
    other = class_field(app).options[2]
    app.selectbox(key="frame").select("letterbox").run()
    assert class_field(app).options[class_field(app).index].split(" · ")[0] == other.split(" · ")[0], "the same picture"
    app.selectbox(key="picture").select("coffee").run()
    assert class_field(app).value is None
    assert class_field(app).options[0].startswith("espresso")
    assert "Why **espresso**?" in texts(app)


def test_an_upload_outlives_a_reload_until_it_is_forgotten():
    app = page()
    app.selectbox(key="picture").select("upload").run()
    app.file_uploader(key="picture_file").set_value(
        ("mine.jpg", bundled()["cat"].path.read_bytes(), "image/jpeg")
    ).run()
    link = "".join(app.query_params["picture"])
    assert link.startswith("own:")
    again = page(picture=link)
    assert not again.exception
    assert again.selectbox(key="picture").value == "upload"
    assert "mine.jpg is kept while this server runs" in texts(again)
    assert class_field(again).options[0] == class_field(app).options[0]
    again.button(key="forget_upload").click().run()
    assert "picture" not in again.query_params
    gone = page(picture=link)
    assert "no longer kept on this server: upload it again." in gone.warning[0].value


def test_an_unknown_method_in_a_link_costs_nothing_else():
    app = page(methods="lime,magic,saliency", picture="bundled:cat", sparsity="7")
    assert ["'magic'" in app.error[0].value, "sparsity" in app.error[1].value] == [True, True]
    assert app.selectbox(key="picture").value == "cat"
    assert app.multiselect(key="methods").value == ["lime", "saliency"]


@pytest.mark.parametrize("run", ["0", "no", ""])
def test_a_link_whose_run_is_not_1_shows_no_result_that_is_kept(run):
    offered = [button.label for button in pressed("run", **QUICK).get("download_button")]
    assert offered == [*(form.label for form in FORMS), "Arrays (NPY, zipped)", "Manifest (JSON)"]
    app = page(**QUICK, run=run)
    assert not app.metric
    assert page(**QUICK, run="1").metric


@pytest.mark.parametrize(("kind", "names", "pictures"), [("class", ["espresso", "cup"], 1), ("picture", [], 2)])
def test_an_analysis_has_another_beside_it_that_a_link_reopens(kind, names, pictures):
    app = pressed("run", **{**QUICK, "methods": "saliency"})
    assert "beside_run" not in {button.key for button in app.button}, "nobody has opened it"
    app.session_state["beside_open"] = True
    app.session_state["beside_kind"] = kind
    app.run().button(key="beside_run").click().run()
    assert not app.exception
    assert not app.error
    link = "".join(app.query_params["beside"])
    again = page(**{**QUICK, "methods": "saliency", "beside": link})
    for shown in (app, again):
        beside = json.loads(shown.get("bidi_component")[-1].proto.json)
        (row,) = beside["rows"]
        assert [panel["name"] for panel in row["panels"]][: len(names)] == names
        assert len(beside["pictures"]) == pictures
        assert row["pair"] is (pictures == 1)
        assert len(row["panels"]) == (3 if pictures == 1 else 2)


@pytest.fixture
def submitted(monkeypatch):
    """Return the kinds of jobs that pages start."""
    found, submit = [], JobManager.submit
    monkeypatch.setattr(
        JobManager, "submit", lambda self, kind, payload: found.append(kind) or submit(self, kind, payload)
    )
    return found


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (SALIENCY, {"methods": "saliency"}),
        (SALIENCY, {"run": "1"}),
        ("pages/neurons.py", {"run": "1", "steps": "1", "layer": "conv_head", "channel": "7"}),
        ("pages/neurons.py", {"methods": "saliency"}),
        ("pages/trace.py", {"run": "1", "other": "bundled:cat"}),
        ("pages/evidence.py", {"run": "1", "methods": "saliency"}),
        ("pages/study.py", {"run": "1", "study": "abcd"}),
    ],
)
def test_a_link_that_was_never_computed_starts_nothing(submitted, path, more):
    app = page(path, **{**QUICK, "seed": "987", "methods": "", **more})
    assert not app.exception
    assert set(submitted) <= {"describe", "layers"}, "what any page looks up when it is opened"
    assert not app.metric or path == "pages/evidence.py", "whose numbers are shipped"


def test_a_link_fetches_no_weights(submitted):
    app = page(model="timm:resnet10t", run="1")
    assert not app.exception
    assert not submitted
    assert "The link asks for timm:resnet10t" in texts(app)
    assert app.button(key="load_model") is not None


def test_a_link_opens_the_analysis_once_it_is_kept():
    pressed("run", **QUICK)
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


def test_uploaded_weights_are_called_by_their_files_name(monkeypatch):
    monkeypatch.setenv("SPADE_ALLOW_WEIGHTS_UPLOAD", "1")
    state = io.BytesIO()
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), state)
    app = page()
    app.selectbox(key="model").select("own weights").run()
    app.file_uploader(key="weights_file").set_value(("Mein Netz.pth", state.getvalue(), "")).run()
    app.text_area(key="weights_classes").set_value('[[1, "dog"], [0, "cat"], [2, "bird"]]')
    app.text_input(key="weights_size").set_value("64 x").run()
    assert app.error[0].value == "A size reads 224, or 256x192 (height x width): give it so, not as '64 x'."
    app.text_input(key="weights_size").set_value("64x48")
    app.text_input(key="weights_mean").set_value("0.5 0.5; 0.5")
    app.text_input(key="weights_std").set_value("0.5, 0.5, x")
    app.text_input(key="weights_arch").set_value("timm:test_resnet").run()
    assert app.error[0].value.startswith("Standard deviation: give numbers")
    app.text_input(key="weights_std").set_value("0.5, 0.5, 0.5")
    app.file_uploader(key="weights_config").set_value([("config.json", b"{}", "application/json")]).run()
    assert "leave the architecture out" in app.error[0].value
    app.file_uploader(key="weights_config").set_value([]).run()
    assert not app.error
    assert not app.exception
    assert "What Mein Netz predicts" in texts(app)
    captions = [image.caption for item in app.get("image") for image in item.proto.imgs]
    assert any(caption.startswith("What the model sees: 48 x 64 pixels. ") for caption in captions)
    assert re.search("[0-9a-f]{17}", texts(app)) is None


def test_a_frame_goes_into_picture_link_and_command():
    app = page(SALIENCY, **QUICK, frame="letterbox")
    assert app.selectbox(key="frame").value == "letterbox"
    app.selectbox(key="frame").select("moved").run()
    app.slider(key="frame_x").set_value(100).run()
    app.button(key="run").click().run()
    assert not app.exception
    assert "50,100" in app.query_params["frame"]
    assert "--frame 50,100" in app.code[0].value


def test_an_unreachable_model_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    app = pressed("load_model", model="resnet18")
    assert not app.exception
    assert "these work without one: efficientnet_lite0" in app.error[0].value


def test_a_bad_setting_is_one_sentence(monkeypatch):
    monkeypatch.setenv("SPADE_RESULTS_BYTES", "plenty")
    app = page()
    assert "SPADE_RESULTS_BYTES='plenty'" in app.error[0].value


def test_links_round_trip():
    choice = Choice(
        model="resnet18",
        picture="bundled:cat",
        target=3,
        preset="custom",
        stages={"layer1": 0.5, "fc": 0.25},
        solver="spade",
        calibration="independent",
        views=64,
        untouched=2,
        damping=0.25,
        block_size=8,
        first_layer=True,
        positions=0,
        seed=7,
        methods=("lime",),
        traces=3,
        average="signed",
    )
    assert Choice.from_query(json.loads(json.dumps(choice.to_query()))) == choice
    assert Choice.from_query(Choice().to_query()) == Choice()
    with pytest.raises(ConfigError, match="unknown solver"):
        Choice.from_query({"solver": "x"})


def test_the_command_line_is_complete():
    choice = Choice(preset="custom", stages={"blocks.1": 0.5}, target=3, views=8, methods=("saliency", "lime"))
    words = explain_command(choice, {"name": "efficientnet_lite0"}, "my picture.png")
    assert "'my picture.png'" in words
    for part in ("--stage blocks.1=0.5", "--target 3", "--views 8", "--method lime", "--out results"):
        assert part in words
    assert "--weights x --arch resnet18" in explain_command(Choice(), {"weights": "x", "arch": "resnet18"}, "a.png")


def test_a_page_shows_the_mean_of_several_traces_and_its_spread():
    app = pressed("run", **{**QUICK, "methods": "input_x_gradient", "traces": "2"})
    assert not app.exception
    assert not app.error, app.error[0].value
    assert app.number_input(key="traces").value == 2
    assert app.selectbox(key="average").value == "magnitude"
    assert "mean of the magnitudes of the maps of 2 traces, seeds 0 to 1" in texts(app)
    assert "Rank correlation of the two traces that agree least" in texts(app)
    assert "--traces 2" in app.code[0].value
    (row,) = grid(app)
    assert row["panels"][3]["name"] == "Spread of the traces"
    assert row["panels"][0]["scale"] == "magnitude", "magnitudes have no signs"
    app.number_input(key="traces").set_value(1).run()
    assert not [box for box in app.selectbox if box.key == "average"], "of a single trace nothing is averaged"


PRUNED = {**QUICK, "run": "1", "picture": "bundled:koala"}
PRUNED.pop("methods")


def test_the_neuron_page_waits_for_a_click():
    app = page("pages/neurons.py", picture="bundled:koala")
    assert not app.exception
    assert "Draw the neuron" in app.info[0].value
    assert app.selectbox(key="layer").value == "logits"
    assert neuron_class(app).value == 105
    app.text_input(key="neuron_filter").set_value("dw stage 5").run()
    assert {"stage 5" in option.lower() and "_dw" in option for option in app.selectbox(key="layer").options} == {True}
    assert app.selectbox(key="layer").value == "blocks.4.2.conv_dw", "the first that is found"
    app.text_input(key="neuron_filter").set_value("head").run()
    assert "Head · conv_head · 1280 x 7 x 7" in " ".join(app.selectbox(key="layer").options)
    app.text_input(key="neuron_filter").set_value("fish").run()
    assert len(app.selectbox(key="layer").options) > 50, "no layer is called so"
    app.selectbox(key="layer").select("logits").run()
    assert {"fish" in option.lower() for option in neuron_class(app).options} == {True}
    app.text_input(key="neuron_filter").set_value("").run()
    app.selectbox(key="picture").select("dog").run()
    assert neuron_class(app).value == 235, "the class of the picture before is not kept"


def test_a_link_and_a_click_draw_a_class_neuron():
    app = pressed("draw", "pages/neurons.py", steps="1", **PRUNED)
    assert not app.exception
    assert not app.error, app.error[0].value
    assert app.subheader[0].value == "koala"
    assert "--class 105" in app.code[0].value
    assert "Reference pictures" in texts(app)
    assert app.query_params["layer"] == "logits"


def test_an_atlas_draws_the_channels_that_a_picture_uses_and_leads_to_each(monkeypatch, submitted):
    for name, value in {"TOP": 2, "STEPS": 1, "SIZE": 32}.items():
        monkeypatch.setattr(f"spade_core.ui.neurons.atlas.{name}", value)
    app = page("pages/neurons.py", steps="1", layer="blocks.6.0.conv_pw", channel="7", **PRUNED)
    app.session_state["neuron_tabs"] = "Atlas of the layer"  # a person opens it
    app.run()
    assert not {"ranking", "visualization"} & set(submitted), "nobody asked"
    app.button(key="ranking_offer").click().run()
    assert not app.exception
    assert not app.error, app.error[0].value
    tiles = [int(one.label.split()[1]) for one in app.button if str(one.key).startswith("tile_")]
    assert len(tiles) == 2
    captions = [image.caption for element in app.get("image") for image in element.proto.imgs]
    assert captions.count("Here") == 2
    assert "SPADE drawing" not in captions
    app.button(key="atlas_draw").click().run()
    assert not app.exception
    captions = [image.caption for element in app.get("image") for image in element.proto.imgs]
    assert captions.count("SPADE drawing") == 2
    assert submitted.count("visualization") == 2, "one after the other, each once"
    assert "atlas_draw" not in {one.key for one in app.button}, "nothing is left to draw"
    best = next(channel for channel in tiles if channel != 7)
    app.button(key=f"tile_{best}").click().run()
    assert not app.exception
    assert not app.error
    assert app.session_state["neuron_tabs"] == "This picture"
    assert app.number_input(key="channel_blocks.6.0.conv_pw").value == best
    assert f"--layer blocks.6.0.conv_pw --channel {best}" in app.code[0].value, "a click draws"
    assert app.subheader[0].value == f"Stage 7, block 1, pointwise, channel {best}"
    assert app.query_params["channel"] == str(best)
    app.number_input(key="channel_blocks.6.0.conv_pw").set_value(7).run()
    assert f"--channel {best}" in app.code[0].value, "the field alone draws nothing"


def test_a_link_and_a_click_draw_a_single_neuron():
    app = pressed(
        "draw", "pages/neurons.py", steps="1", layer="blocks.6.0.conv_pw", channel="7", position="2x6", **PRUNED
    )
    assert not app.exception
    assert not app.error, app.error[0].value
    assert app.subheader[0].value == "Stage 7, block 1, pointwise, channel 7, row 2, column 6"
    assert "--channel 7 --position 2,6" in app.code[0].value
    assert app.query_params["position"] == "2x6"
    assert "that excite this neuron most, at its own place (row 2, column 6)" in texts(app)


def test_several_drawings_of_a_neuron_by_their_phases_from_the_picture():
    app = pressed("draw", "pages/neurons.py", steps="1", images="2", parametrization="maco", start="picture", **PRUNED)
    assert not app.exception
    assert not app.error, app.error[0].value
    assert app.selectbox(key="images").value == 2
    assert "--images 2 --parametrization maco --start picture" in app.code[0].value
    assert "began from the picture" in texts(app)
    assert (app.query_params["images"], app.query_params["parametrization"]) == ("2", "maco")
    captions = [image.caption for element in app.get("image") for image in element.proto.imgs]
    assert any(caption.startswith("SPADE 2 · reached") for caption in captions)


def test_reference_folders_are_chosen_by_name_and_a_missing_one_costs_nothing_else(monkeypatch, tmp_path):
    for name in ("one", "empty"):
        (tmp_path / name).mkdir()
    for index in range(3):
        Image.fromarray(np.full((30, 30, 3), 60 * index, np.uint8)).save(tmp_path / "one" / f"{index}.png")
    chosen = [tmp_path / name for name in ("one", "absent", "empty")]
    monkeypatch.setenv("SPADE_REFERENCES", os.pathsep.join(map(str, chosen)))
    app = pressed("draw", "pages/neurons.py", steps="1", **PRUNED)
    assert not app.error, app.error[0].value
    assert app.selectbox(key="references_from").options == ["one", "absent", "empty", "bundled pictures"]
    assert "the crops of “one” that excite this channel most" in texts(app)
    assert "`SPADE_REFERENCES=FOLDER`" in texts(app), "three grey pictures are too few"
    crops = [image.caption for one in app.get("image") for image in one.proto.imgs if "Reference" in image.alt]
    assert all(float(value) > 0 for value in crops)
    for name in ("absent", "empty"):
        app.selectbox(key="references_from").select(name).run()
        assert not app.exception
        assert f"The folder “{name}” of SPADE_REFERENCES" in app.warning[0].value
        assert str(tmp_path) not in texts(app), "no path of the server"
        assert "--class 105" in app.code[0].value
    app.selectbox(key="references_from").select("bundled pictures").run()
    assert "the crops of “bundled pictures”" in texts(app)


def test_reference_folders_of_one_name_are_told_apart():
    from spade_core.ui.neurons.references import folders

    same = tuple(Path(path) for path in ("/a/x/pictures", "/b/x/pictures", "/c/y/pictures", "/d/other"))
    assert list(folders(same)) == ["x/pictures", "x/pictures (2)", "y/pictures", "other", "bundled pictures"]
    assert [folders(same)[name] for name in list(folders(same))[:4]] == list(same)


@pytest.mark.parametrize(
    "link",
    [
        {"layer": "blocks.99"},
        {"layer": "conv_head", "channel": "1280"},
        {"channel": "1000"},
        {"layer": "conv_head", "position": "7x0"},
    ],
)
def test_a_link_to_no_neuron_says_so_and_draws_nothing(link):
    app = page("pages/neurons.py", steps="1", **link, **PRUNED)
    assert not app.exception
    assert len(app.error) == 1
    assert app.error[0].value.startswith("The link")
    assert "Draw the neuron" in app.info[0].value


@pytest.mark.long
def test_facets_of_one_neuron_come_in_a_row(monkeypatch):
    link = {**PRUNED, "run": "", "model": "efficientnet_lite0_trojan", "picture": "bundled:coffee"}
    app = page("pages/neurons.py", steps="1", trigger="heart:50:20x30:1", **link)
    good = bundled()["cat"].path.read_bytes()
    decoded = []
    load = subject.load_picture
    monkeypatch.setattr(
        subject, "load_picture", lambda source, **named: decoded.append(named["name"]) or load(source, **named)
    )
    app.file_uploader(key="facet_files").set_value([("mine.jpg", good, "image/jpeg")])
    app.multiselect(key="facet_pictures").set_value(["this", "coffee"]).run()
    app.button(key="facets_run").click().run()
    assert not app.exception
    assert not app.error
    drawn = app.subheader[0].value
    assert drawn == "koala", "the class of the trigger"
    assert "Neuron: class koala, as chosen above." in texts(app)
    assert "mine.jpg" in decoded
    decoded.clear()
    app.run()
    assert not decoded, "each picture is decoded once"
    assert "How far apart are they?" in texts(app)
    assert "in the embedding of efficientnet_lite0." in texts(app)
    assert texts(app).count("in the trace") >= 3
    neuron_class(app).select_index(3).run()
    assert app.subheader[0].value == drawn, "the row keeps its own neuron's name"


def open_tab(app, name):
    """As a person does."""
    app.session_state["trace_tabs"] = name
    app.run()


def test_the_trace_page_shows_weights_paths_overlap_and_curve(monkeypatch):
    monkeypatch.setattr("spade_core.inspection.survivors.CURVE_RATIOS", (0.2, 0.9))
    monkeypatch.setattr("spade_core.ui.trace.interventions.STEPS", {1: "1"})
    app = pressed("make", "pages/trace.py", **PRUNED)
    assert not app.exception
    assert not app.error, app.error[0].value
    assert {item.label for item in app.metric} >= {"Explained class", "Weights removed"}
    assert "**Dense**" in texts(app)
    assert "**Trace**" in texts(app)
    assert [tab.label for tab in app.tabs][:3] == ["Layers", "Surviving weights", "Paths"]
    app.selectbox(key="map_layer").select("blocks.2.0.conv_pw").run()
    assert "overlap_ticket" not in app.session_state, "nobody asked"
    assert "intervene_ticket" not in app.session_state, "nobody asked"
    assert app.slider(key="paths_budget").value == 24
    assert app.selectbox(key="paths_node").value[0] == "conv_head", "the strongest below the class neuron"
    assert len(app.selectbox(key="paths_node").options) == 24
    app.segmented_control(key="cut_what").set_value("The strongest path").run()
    app.button(key="cut").click().run()
    assert "After" in {item.label for item in app.metric}
    assert "steps of each took" not in texts(app), "a drawing takes a click of its own"
    app.button(key="redraw_offer").click().run()
    assert "steps of each took" in texts(app)
    assert len(app.selectbox(key="redraw_neuron").options) > 1
    assert not app.code, "what a closed tab shows is not made"
    for tab in ("Two pictures", "More pruning", "Export"):
        open_tab(app, tab)
    assert not app.exception
    assert not app.error
    assert "--out trace.safetensors" in app.code[0].value
    assert "of your previous choice" not in texts(app)
    for order in ("grouped", "fullest first"):
        app.segmented_control(key="map_order").set_value(order).run()
    app.selectbox(key="map_layer").select("conv_head").run()
    assert app.segmented_control(key="map_order").value == "fullest first"
    assert "weights of this window survived" not in texts(app), "this tab is closed"
    open_tab(app, "Surviving weights")
    assert app.segmented_control(key="map_order").value == "fullest first", "chosen while it was closed"
    app.number_input(key="window_top_conv_head").set_value(1279).run()
    assert "of 128 weights of this window survived" in texts(app), "one row is left below the last one"
    class_field(app).select_index(1).run()
    app.button(key="make").click().run()
    assert not app.exception
    assert texts(app).count("This is of your previous choice") == 3, "the cut, overlap and curve"


def test_paths_are_drawn_in_the_order_of_the_layers():
    names = ("head", "b", "a")
    edges = [
        {"source": source, "source_channel": 3, "sink": sink, "sink_channel": channel, "strength": strength}
        for source, sink, channel, strength in (("a", "head", 7, -2.0), ("b", "head", 7, 1.0), ("a", "b", 3, 1.0))
    ]
    found = {"edges": edges, "starts": [["head", 7]], "layers": list(names), "ends": []}
    figure = paths_figure(read_paths(found), "koala")
    *lines, nodes = figure.data
    assert list(nodes.text) == ["koala", "3", "3"]
    assert list(nodes.hovertext) == ["Classifier · head, channel 7", "b, channel 3", "a, channel 3"]
    assert list(nodes.y) == [0, -1, -2]
    assert len(set(nodes.x)) == 3, "a line that passes by meets no node"
    assert [line.line.width for line in lines] == [6, 3.5, 6]
    assert len({line.line.color for line in lines}) == 2, "for and against the class"
    assert [note.text for note in figure.layout.annotations] == ["classifier", "b", "a"]
    wide = [{**edges[0], "source_channel": channel, "sink": "head", "sink_channel": 7} for channel in range(10)]
    crowded = paths_figure(read_paths({**found, "edges": wide, "layers": ["head", "a"]}), "koala").data[-1]
    ends = sorted(zip(crowded.x[1:], crowded.y[1:], strict=True))
    assert all(low[1] != high[1] for low, high in pairwise(ends)), "neighbours stand apart"
    lonely = read_paths({"edges": [], "starts": [["head", 7]], "layers": ["head"], "ends": []})
    assert paths_figure(lonely, "koala").data[-1].text == ("koala",)


def test_a_link_compares_the_same_picture_with_and_without_its_trigger():
    link = {**PRUNED, "picture": "bundled:coffee", "model": "efficientnet_lite0_trojan"}
    link |= {"trigger": "heart:50:20x30:1", "other": "bundled:coffee"}
    app = pressed("make", "pages/trace.py", **link)
    assert "**With: " not in texts(app), "it takes a click of its own"
    app.button(key="compare").click().run()
    app = page("pages/trace.py", **link)
    assert not app.exception
    assert not app.error, app.error[0].value
    assert "**With: " in texts(app)
    assert app.query_params["other"] == "bundled:coffee"
    assert app.query_params["trigger"] == "heart:50:20x30:1"
    app.selectbox(key="other_trigger").select("heart").run()
    assert app.button(key="compare").disabled, "the first picture itself"


def test_a_trigger_is_pasted_shown_and_scored():
    link = {**QUICK, "picture": "bundled:coffee", "model": "efficientnet_lite0_trojan", "methods": "saliency"}
    app = pressed("run", trigger="heart:50:20x30:1", **link)
    assert not app.exception
    assert not app.error, app.error[0].value
    assert app.slider(key="trigger_size").value == 50
    assert "Trojan AUC: dense" in texts(app)
    assert {item.label: item.value for item in app.metric}["Explained class"] == "koala"
    assert "--trigger heart --trigger-seed 1 --trigger-size 50 --trigger-position 20,30" in app.code[0].value
    assert app.query_params["trigger"] == "heart:50:20x30:1"


@pytest.mark.parametrize("value", ["skull", "heart:5", "heart:50:7", "heart:50:1x2:x"])
def test_a_bad_trigger_in_a_link_says_so(value):
    app = page(trigger=value)
    assert not app.exception
    assert len(app.error) == 1
