"""An analysis whose methods have tables of their own: a trace for each table, said and replayed."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from spade_core.errors import ConfigError
from spade_core.pruning import sparsity
from spade_core.pruning.calibration import Pruner
from spade_core.pruning.options import BundleOptions, by_ratios
from spade_core.pruning.spade import trace
from spade_core.results import manifest
from spade_core.results.comparison import analyse, bundle, replay
from spade_core.results.config import AnalysisConfig
from spade_core.saliency.explanation import explain

TABLE = {
    "stages": {"pointwise": 0.5, "grouped": 0.5, "head": 0.8},
    "options": {"views": 2, "block_size": 1},
    "methods": {"saliency": {"pointwise": 0.5, "grouped": 0.5, "head": 0.5}, "guided_backprop": "dense"},
}
METHODS = ("saliency", "input_x_gradient", "guided_backprop", "integrated_gradients")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "tuned.json"
    path.write_text(json.dumps(TABLE))
    return path


@pytest.fixture
def config(table):
    return AnalysisConfig(METHODS, trace={"table": str(table)})


def test_each_table_has_one_trace_and_each_method_the_map_of_its_own(small, noise, config, untouched):
    seen, order = [], []
    with untouched(small):
        found = analyse(small, noise, config, on_trace=seen.append, on_pair=lambda slug, _: order.append(slug))
    assert [methods for _, methods in found.distinct] == [
        ("saliency",),
        ("input_x_gradient", "integrated_gradients"),
        ("guided_backprop",),
    ]
    assert seen == [found.traces[0]], "the first maps wait for no second trace"
    assert order[0] == "saliency"
    assert tuple(found.pairs) == METHODS
    asked = {slug: made.traces[0].report.layers[-1].requested for slug, made in found.of_each.items()}
    assert asked == dict(zip(METHODS, (0.5, 0.8, 0, 0.8), strict=True))
    for slug, made in found.of_each.items():
        alone = explain(made.traces[0], noise, method=slug, target=found.trace.fidelity.target)
        assert np.array_equal(alone.map, found.pairs[slug].spade.map)
    assert found.pairs["guided_backprop"].spade is found.pairs["guided_backprop"].dense


def test_a_trace_of_several_is_the_one_made_alone(small, noise, config):
    found = analyse(small, noise, config)
    for options, methods in by_ratios(config.trace, small.name, METHODS):
        alone = trace(small, noise, **options).module.state_dict()
        made = found.of_each[methods[0]].traces[0].module.state_dict()
        assert all(torch.equal(value, made[name]) for name, value in alone.items())


def test_bundles_of_each_table_are_means_of_their_own(small, noise, config):
    found = analyse(small, noise, replace(config, bundle=BundleOptions(traces=2)))
    assert [len(made.traces) for made, _ in found.distinct] == [2, 2, 2]
    assert [one.config.seed for one in found.traces] == [0, 1] * 3
    assert not found.pairs["guided_backprop"].spade.signed
    told = [(one["methods"], one["seed"]) for one in json.loads(bundle(found)["manifest.json"])["traces"]]
    assert told[:3] == [(["saliency"], 0), (["saliency"], 1), (["input_x_gradient", "integrated_gradients"], 0)]


def test_traces_of_one_analysis_share_the_layers_that_are_alike(small, noise, config, monkeypatch):
    solved, solve = [], Pruner.solve

    def counting(self, recipe, *rest):
        solved.append(recipe.layer.name)
        return solve(self, recipe, *rest)

    monkeypatch.setattr(Pruner, "solve", counting)
    analyse(small, noise, config)
    assert solved == ["pointwise", "grouped", "head", "head"]


def test_the_manifest_tells_each_trace_its_methods_and_replays_without_the_file(
    small, noise, config, table, tmp_path, monkeypatch
):
    files = bundle(analyse(small, noise, config))
    manifest.save(files, tmp_path)
    told = json.loads(files["manifest.json"])
    first, mean, dense = told["traces"]
    assert (first["methods"], first["stages"]) == (["saliency"], TABLE["methods"]["saliency"])
    assert mean["stages"] == TABLE["stages"]
    assert (dense["methods"], dense["stages"], dense["pruned"]) == (["guided_backprop"], {}, False)
    assert dense["fidelity"]["keeps_class"]
    assert str(table) not in files["manifest.json"].decode()

    monkeypatch.setattr(manifest, "reopened", lambda *_, **__: contextlib.nullcontext((small, noise)))
    again, comparison = replay(tmp_path)
    assert comparison.identical
    assert len(again.traces) == 3


def test_a_models_own_table_may_have_methods_too(small, noise, monkeypatch):
    own = {**TABLE, "chosen": "", "depthwise": 0.0, "unweighted": TABLE}
    monkeypatch.setattr(sparsity, "_tables", lambda: {small.name: own})
    (first, slugs), *others = by_ratios({"views": 3}, small.name, METHODS)
    assert (first["views"], first["table"]["stages"], slugs) == (3, TABLE["methods"]["saliency"], ("saliency",))
    assert len(others) == 2
    assert len(analyse(small, noise, AnalysisConfig(METHODS[:2])).traces) == 2
    for given in ({"preset": "unweighted"}, {"sparsity": 0.5}):
        assert by_ratios(given, small.name, METHODS) == [(given, METHODS)]


def test_progress_rises_to_the_end(small, noise, config):
    seen = []
    analyse(small, noise, config, progress=lambda done, whole, note: seen.append(done / whole))
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_table_that_cannot_be_read_is_refused_before_anything_is_computed():
    with pytest.raises(ConfigError, match="cannot be read"):
        AnalysisConfig(METHODS, trace={"table": "none.json"})
