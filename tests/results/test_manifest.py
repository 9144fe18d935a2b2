"""Results: manifest, files, replay bit for bit."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import spade_core as sc
from spade_core.errors import ConfigError, LayerError
from spade_core.pruning import sparsity
from spade_core.pruning.options import BundleOptions
from spade_core.results import manifest as results
from spade_core.results.comparison import analyse, bundle, describe, replay
from spade_core.results.config import AnalysisConfig
from spade_core.results.manifest import read_manifest, save, threads

pytestmark = pytest.mark.usefixtures("models_once")
METHODS = ("saliency", "gradient_shap")
OPTIONS = {"gradient_shap": {"samples": 2}}


@pytest.fixture(scope="module")
def analysis(lite0, coffee):
    config = AnalysisConfig(METHODS, trace={"views": 2, "sparsity": 0.4}, options=OPTIONS, seed=3)
    return analyse(lite0, coffee, config)


@pytest.fixture(scope="module")
def files(analysis):
    return bundle(analysis)


def test_pairs_come_as_they_are_ready_and_progress_rises(small, noise):
    events, fractions = [], []
    config = AnalysisConfig(METHODS, trace={"views": 2, "sparsity": 0.4}, options=OPTIONS)
    made = analyse(
        small,
        noise,
        config,
        progress=lambda done, total, note: fractions.append(done / total),
        on_trace=lambda trace: events.append("trace"),
        on_pair=lambda slug, pair: events.append(slug),
    )
    assert events == ["trace", *METHODS]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert made.pairs["saliency"].dense.target == made.trace.fidelity.target


def test_unsupported_methods_are_refused_but_the_others_run(noise):
    from tests import nets

    model = nets.loaded("vit_b_16", 32)
    config = AnalysisConfig(("deeplift", "saliency"), trace={"views": 2, "sparsity": 0.4})
    made = analyse(model, noise, config)
    assert list(made.pairs) == ["saliency"]
    assert "GELU" in made.refused["deeplift"]
    with pytest.raises(LayerError, match="GELU"):
        analyse(model, noise, AnalysisConfig(("deeplift",), trace={"views": 2, "sparsity": 0.4}))


def test_config_round_trip_and_checks():
    config = AnalysisConfig(METHODS, "espresso", {"views": 3}, OPTIONS, 5)
    assert AnalysisConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ConfigError, match="no method 'x'"):
        AnalysisConfig(("x",))
    with pytest.raises(ConfigError, match="at least one"):
        AnalysisConfig(())


def test_the_manifest_says_everything(analysis, lite0, coffee):
    found = json.loads(json.dumps(describe(analysis)))
    assert found["model"]["sha256"] == lite0.sha256
    assert found["picture"]["sha256"] == coffee.sha256
    assert found["target"] == {"index": 967, "label": "espresso"}
    assert found["trace"]["views"] == 2
    assert found["trace"]["calibration"] == "sequential"
    assert found["environment"]["threads"] == torch.get_num_threads()
    assert found["methods"]["gradient_shap"]["settings"]["batch_size"] == 16
    assert len(found["layers"]) == 50
    assert found["sparsity"] == pytest.approx(0.4, abs=0.001)


def test_the_files_are_those_of_the_maps(analysis, files, tmp_path):
    folder = save(files, tmp_path / "out")
    names = {path.name for path in folder.iterdir()}
    maps = {f"{side}_{slug}.{kind}" for side in ("dense", "spade") for slug in METHODS for kind in ("npy", "png")}
    assert names == {"manifest.json", "figure.png", *maps}
    array = np.load(folder / "spade_saliency.npy")
    assert np.array_equal(array, analysis.pairs["saliency"].spade.map)
    assert array.dtype == np.float32
    picture = Image.open(io.BytesIO((folder / "dense_saliency.png").read_bytes()))
    assert picture.size == (224, 224)


def test_replay_gives_the_same_bits(files, tmp_path):
    folder = save(files, tmp_path / "out")
    _, comparison = replay(folder / "manifest.json", device="cpu")
    assert comparison.identical
    assert set(comparison) == {f"{side}_{slug}" for side in ("dense", "spade") for slug in METHODS}


def test_replay_notices_differences(files, tmp_path):
    folder = save(files, tmp_path / "out")
    described = json.loads((folder / "manifest.json").read_text())
    described["config"]["seed"] = 4
    (folder / "manifest.json").write_text(json.dumps(described))
    _, comparison = replay(folder, device="cpu")
    assert not comparison.identical
    assert comparison["dense_saliency"] == 0
    assert comparison["spade_saliency"] > 0


def test_replay_refuses_other_pictures_weights_and_files(files, tmp_path):
    folder = save(files, tmp_path / "out")
    with pytest.raises(ConfigError, match="not the one of the manifest"):
        replay(folder, image="bundled:cat", device="cpu")
    described = json.loads((folder / "manifest.json").read_text())
    described["model"]["sha256"] = "0" * 64
    (folder / "other.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match="their sha256 differs"):
        replay(folder / "other.json", device="cpu")
    for text, message in (("{}", "not a manifest"), ("no json", "not a manifest"), ("[1]", "not a manifest")):
        (folder / "bad.json").write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_manifest(folder / "bad.json")
    described["schema_version"] = 99
    (folder / "new.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match="schema 99"):
        read_manifest(folder / "new.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_manifest(tmp_path / "absent.json")


def test_threads_are_set_and_restored():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        save({"a": b""}, tmp_path / "file")


def test_colours_span_the_limits():
    from spade_core.pictures.figures import colorize
    from spade_core.pictures.scales import SIGNED

    values = np.array([[-2.0, 0.0, 2.0]])
    signed = colorize(values, (-1, 1), SIGNED)
    assert signed.shape == (1, 3, 3)
    assert signed[0, 1].min() > 240, "zero is white"
    assert signed[0, 0, 2] > signed[0, 0, 0], "negative is blue"
    assert signed[0, 2, 0] > signed[0, 2, 2], "positive is red"
    assert results.SCHEMA_VERSION == 1
    assert sc.__version__


def test_a_manifest_of_version_0_1_is_replayed_by_the_table_that_was_its_default(files, tmp_path):
    folder = save(files, tmp_path / "out")
    described = json.loads((folder / "manifest.json").read_text())
    described["config"]["trace"] = {}
    described |= {"trace": {"preset": "default"}, "layers": []}
    (folder / "manifest.json").write_text(json.dumps(described))
    assert read_manifest(folder)["config"]["trace"] == {"preset": "unweighted"}
    described["trace"]["weighting"] = "target"
    (folder / "manifest.json").write_text(json.dumps(described))
    assert read_manifest(folder)["config"]["trace"] == {}


def test_a_manifest_is_replayed_by_the_ratios_that_its_models_table_had(small, noise, tmp_path, monkeypatch):
    def tuned(head):
        options = {"views": 2, "block_size": 1}
        own = {"chosen": "", "stages": {"grouped": 0.5, "head": head}, "depthwise": 0.0, "options": options}
        monkeypatch.setattr(sparsity, "_tables", lambda: {small.name: own})

    tuned(0.5)
    made = describe(analyse(small, noise, AnalysisConfig(("saliency",))))
    (tmp_path / "manifest.json").write_text(json.dumps(made))
    assert read_manifest(tmp_path)["config"]["trace"] == {}, "as long as the table is the same"
    tuned(0.9)
    asked = read_manifest(tmp_path)["config"]["trace"]
    assert asked["table"]["stages"] == {"grouped": 0.5, "head": 0.5}
    again = describe(analyse(small, noise, AnalysisConfig(("saliency",), trace=asked)))
    assert again["methods"]["saliency"]["spade"]["sha256"] == made["methods"]["saliency"]["spade"]["sha256"]


def test_a_manifest_is_replayed_as_it_was_made_where_its_models_table_has_ratios_by_method_since(
    small, noise, tmp_path, monkeypatch
):
    plain = {"chosen": "", "stages": {"grouped": 0.5, "head": 0.5}, "depthwise": 0.0, "options": {"views": 2}}
    by_method = {"methods": {"saliency": {"head": 0.9}, "guided_backprop": {}}, "options": {"views": 3, "refit": 1.0}}
    tables = {small.name: plain}
    monkeypatch.setattr(sparsity, "_tables", lambda: tables)

    def made(*methods, **given):
        found = describe(analyse(small, noise, AnalysisConfig(methods, **given)))
        (tmp_path / "manifest.json").write_text(json.dumps(found))
        return found, read_manifest(tmp_path)["config"]["trace"]

    before, asked = made("saliency", "input_x_gradient")
    assert asked == {}
    tables[small.name] = {**plain, **by_method}
    (tmp_path / "manifest.json").write_text(json.dumps(before))
    asked = read_manifest(tmp_path)["config"]["trace"]
    assert asked["table"]["options"] == {"views": 2, "refit": 0.0}
    again = describe(analyse(small, noise, AnalysisConfig(("saliency", "input_x_gradient"), trace=asked)))
    for slug, row in before["methods"].items():
        assert again["methods"][slug]["spade"]["sha256"] == row["spade"]["sha256"]
    for methods in (("saliency",), ("input_x_gradient",), ("guided_backprop",), ("saliency", "input_x_gradient")):
        assert made(*methods)[1] == {}, "by today's table"
        assert made(*methods, trace={"views": 4})[1] == {"views": 4}

    every = ("saliency", "input_x_gradient", "guided_backprop")
    by_methods, _ = made(*every)
    tables[small.name] = {**plain, "stages": {"head": 0.7}}
    asked = read_manifest(tmp_path)["config"]["trace"]
    assert asked["table"]["methods"]["guided_backprop"] == {}
    again = describe(analyse(small, noise, AnalysisConfig(every, trace=asked)))
    for slug, row in by_methods["methods"].items():
        assert again["methods"][slug]["spade"]["sha256"] == row["spade"]["sha256"]


def test_a_manifest_of_the_preset_paper_keeps_the_positions_that_it_took(small, noise, tmp_path):
    given = {"preset": "paper", "views": 2}
    described = json.loads(json.dumps(describe(analyse(small, noise, AnalysisConfig(("saliency",), trace=given)))))
    assert described["trace"]["positions"] == 0
    for positions, asked in ((0, {}), (2048, {"positions": 2048})):
        described["trace"]["positions"] = positions
        (tmp_path / "manifest.json").write_text(json.dumps(described))
        assert read_manifest(tmp_path)["config"]["trace"] == {**given, **asked}


def test_an_old_manifest_keeps_the_steps_of_integrated_gradients(small, noise, tmp_path):
    config = AnalysisConfig(("integrated_gradients",), trace={"views": 2, "sparsity": 0.4})
    described = json.loads(json.dumps(describe(analyse(small, noise, config))))
    for old in (False, True):
        if old:
            del described["methods"]["integrated_gradients"]["settings"]["most_steps"]
        (tmp_path / "manifest.json").write_text(json.dumps(described))
        options = {"integrated_gradients": {"most_steps": 1}} if old else {}
        assert read_manifest(tmp_path)["config"]["options"] == options


@pytest.mark.long
@pytest.mark.parametrize("average", ["magnitude", "signed"])
def test_the_map_of_a_bundle_is_a_mean_and_its_files_and_replay_say_so(lite0, small, coffee, noise, tmp_path, average):
    quick = {"views": 2, "sparsity": 0.4, "solver": "magnitude", "calibration": "independent"}
    bundled = BundleOptions(traces=2, average=average)
    config = AnalysisConfig(("saliency", "input_x_gradient"), trace=quick, seed=3, bundle=bundled)
    assert AnalysisConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    signed = average == "signed"
    made = analyse(small, noise, config) if signed else analyse(lite0, coffee, config)
    assert [one.config.seed for one in made.traces] == [3, 4]
    pair = made.pairs["input_x_gradient"]
    assert (pair.dense.signed, pair.spade.signed) == (signed, signed)
    assert (pair.dense.map.min() < 0) == signed, "the dense map is processed as the bundle's is"
    folder = save(bundle(made), tmp_path / "out")
    described = json.loads((folder / "manifest.json").read_text())
    assert [one["seed"] for one in described["traces"]] == [3, 4]
    assert described["methods"]["input_x_gradient"]["signed"] == signed
    assert described["methods"]["input_x_gradient"]["settings"]["average"] == average
    assert described["methods"]["saliency"]["agreement"] == pytest.approx(made.pairs["saliency"].spade.agreement)
    assert np.array_equal(np.load(folder / "spread_saliency.npy"), made.pairs["saliency"].spade.spread)
    assert (folder / "spread_saliency.png").is_file()
    if not signed:
        _, comparison = replay(folder, device="cpu")
        assert comparison.identical
        assert len(comparison) == 6


def test_a_record_without_a_word_on_bundles_has_one_trace():
    values = AnalysisConfig(METHODS).to_dict()
    del values["bundle"]
    assert AnalysisConfig.from_dict(values) == AnalysisConfig(METHODS)
    with pytest.raises(ConfigError, match="number of traces must lie between 1 and 64, not 0"):
        AnalysisConfig.from_dict({**values, "bundle": {"traces": 0}})
