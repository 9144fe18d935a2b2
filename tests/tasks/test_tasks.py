"""What the worker's tasks share: the traces that they keep."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import SwinTransformer

from spade_core import tasks
from spade_core.inspection import Edge, Paths
from spade_core.models.loading import wrap_model
from spade_core.pruning.spade import trace
from spade_core.tasks import common
from spade_core.tasks import inspection as tasks_of_inspection

QUICK = {"preset": "uniform", "sparsity": 0.4, "views": 2, "solver": "magnitude"}


@pytest.fixture
def run(small, noise, tmp_path, monkeypatch):
    """Return a function that runs a task on the small model and its picture, and the list of traces made."""
    Image.fromarray(noise.pixels).save(tmp_path / "noise.png")
    made, trace = [], common.trace_many
    monkeypatch.setattr(common, "_model", lambda spec, device: small)
    monkeypatch.setattr(
        common, "trace_many", lambda *given, **options: made.append(options) or trace(*given, **options)
    )
    monkeypatch.setattr(common, "_TRACES", type(common._TRACES)())
    source = {"path": str(tmp_path / "noise.png"), "name": "noise.png"}

    def run_task(task, emit=lambda files: None, **payload):
        given = {"model": {"name": "plain"}, "picture": source, **payload}
        return task(given, emit=emit, progress=lambda *state: None, device="cpu")

    return run_task, made


def test_other_methods_another_neuron_and_other_pages_take_the_kept_trace(run):
    run_task, made = run
    drawn = {"render": {"steps": 1, "size": 24}, "trace": QUICK}
    first = run_task(tasks.analysis, config={"methods": ["saliency"], "trace": QUICK})
    run_task(tasks.analysis, config={"methods": ["input_x_gradient"], "trace": QUICK})
    run_task(tasks.visualization, config={**drawn, "neuron": {"layer": "pointwise", "channel": 2}})
    run_task(tasks.ranking, trace=QUICK, layer="pointwise", by="gradient", top=2)
    run_task(tasks.inspect, trace=QUICK)
    assert len(made) == 1
    again = run_task(tasks.analysis, config={"methods": ["saliency"], "trace": QUICK})
    assert again["spade_saliency.npy"] == first["spade_saliency.npy"]


@pytest.mark.parametrize(
    ("methods", "parts"),
    [
        (["saliency", "input_x_gradient"], [{"trace", "crop", "saliency"}, {"input_x_gradient"}]),
        (["occlusion", "saliency"], [{"trace", "crop"}, {"occlusion"}, {"saliency"}]),
    ],
)
def test_the_trace_comes_with_the_first_pair_of_maps_but_before_one_that_takes_long(run, methods, parts):
    run_task, _ = run
    emitted = []
    run_task(tasks.analysis, emitted.append, config={"methods": methods, "trace": QUICK})
    named = [{name.split(".")[0].removeprefix("dense_").removeprefix("spade_") for name in one} for one in emitted]
    assert named == parts


def test_other_options_seeds_and_classes_have_traces_of_their_own(run):
    run_task, made = run
    config = {"methods": ["saliency"], "trace": QUICK}
    run_task(tasks.analysis, config=config)
    run_task(tasks.analysis, config={**config, "trace": {**QUICK, "sparsity": 0.5}})
    run_task(tasks.analysis, config={**config, "seed": 1})
    target = made[0]["target"]
    run_task(tasks.analysis, config={**config, "target": target})
    run_task(tasks.analysis, config={**config, "target": (target + 1) % 10})
    assert [(one["sparsity"], one["seed"], one["target"] == target) for one in made] == [
        (0.4, 0, True),
        (0.5, 0, True),
        (0.4, 1, True),
        (0.4, 0, False),
    ]
    for seed in range(2, 2 + common.KEPT_TRACES):
        run_task(tasks.analysis, config={**config, "seed": seed})
    assert len(common._TRACES) == common.KEPT_TRACES


def test_a_bundle_is_kept_as_a_whole_and_counts_as_its_traces(run):
    run_task, made = run
    config = {"methods": ["saliency"], "trace": QUICK, "bundle": {"traces": 3}}
    first = run_task(tasks.analysis, config=config)
    again = run_task(tasks.analysis, config={**config, "bundle": {"traces": 3, "average": "signed"}})
    assert len(made) == 1
    assert {"spread_saliency.npy", "spread_saliency.png"} <= first.keys() & again.keys()
    run_task(tasks.analysis, config={"methods": ["saliency"], "trace": QUICK})
    assert [one["traces"] for one in made] == [3, 1]
    assert len(common._TRACES) == 2
    run_task(tasks.analysis, config={**config, "seed": 9})
    assert [len(one.traces) for one in common._TRACES.values()] == [1, 3]


def test_of_traces_that_hold_too_much_only_the_last_is_kept(run, monkeypatch):
    run_task, _ = run
    for most, kept in ((2**30, 2), (0, 1)):
        monkeypatch.setattr(common, "KEPT_BYTES", most)
        for seed in range(2):
            run_task(tasks.analysis, config={"methods": ["saliency"], "trace": QUICK, "seed": seed})
        assert len(common._TRACES) == kept


def test_channels_of_the_paths_have_the_part_of_the_picture_that_excites_them_most(run):
    run_task, _ = run
    files = run_task(tasks.inspect, trace=QUICK)
    places, paths = json.loads(files["places.json"]), json.loads(files["paths.json"])
    shown = {(edge["source"], edge["source_channel"]) for edge in paths["edges"]}
    assert {(one["layer"], one["channel"]) for one in places} == shown, "all but the class neuron have places"
    seen = np.load(io.BytesIO(files["crop.npy"]))
    for one in places:
        top, left, bottom, right = one["region"]
        assert 0 <= top < bottom <= seen.shape[0]
        assert 0 <= left < right <= seen.shape[1]


def test_paths_through_layers_that_have_no_map_of_the_picture_have_no_places(coffee):
    torch.manual_seed(0)
    sizes = {"patch_size": [4, 4], "window_size": [4, 4], "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    net = SwinTransformer(**sizes, num_classes=3)  # its attention takes the weights of layers that it never calls
    model = wrap_model(net, size=32, resize=32, device="cpu")
    made = trace(model, coffee, sparsity=0.3, preset="uniform", views=2)
    layers = ("head", "features.1.0.mlp.0", "features.1.0.attn.qkv", "features.0.0")
    edges = tuple(Edge(source, 1, "head", 1, 1.0) for source in layers[1:])
    places = tasks_of_inspection._places(made, coffee, Paths(edges, (("head", 1),), layers, ()))
    assert [(place.layer, place.channel) for place in places] == [("features.0.0", 1), ("features.1.0.mlp.0", 1)]


def test_interventions_take_the_kept_trace(run):
    run_task, made = run
    run_task(tasks.inspect, trace=QUICK)
    cut = run_task(tasks.intervene, trace=QUICK, cuts=[["grouped", 1], ["pointwise", None]], method="saliency")
    found = json.loads(cut["intervene.json"])
    assert {"before.png", "after.png"} < set(cut)
    assert found["before"]["probability"] != found["after"]["probability"]
    assert found["before"]["top"][0]["label"] == found["label"]
    assert found["cuts"] == [["grouped", 1], ["pointwise", None]]
    steps = json.loads(run_task(tasks.knockout, trace=QUICK)["knockouts.json"])
    assert [step["share"] for step in steps] == [0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1]
    assert len(made) == 1


def test_a_neuron_is_drawn_by_the_trace_with_and_without_what_is_cut(run):
    run_task, made = run
    drawn = {"trace": QUICK, "cuts": [["grouped", 1], ["pointwise", 3]], "render": {"steps": 6, "size": 24}}
    of_class = {"layer": "logits", "channel": 1}
    files = run_task(tasks.redraw, **drawn, neuron=of_class)
    told = json.loads(files["redraw.json"])
    values = told["last_values"]
    assert values["before"] != values["after"]
    assert files["before.png"] != files["after.png"]
    channel = run_task(tasks.redraw, **drawn, neuron={"layer": "pointwise", "channel": 2})
    assert "channel 2" in json.loads(channel["redraw.json"])["called"] != told["called"]
    assert channel["before.png"] != files["before.png"]
    nothing = json.loads(run_task(tasks.redraw, **{**drawn, "cuts": []}, neuron=of_class)["redraw.json"])["last_values"]
    assert nothing["after"] == nothing["before"] == values["before"], "they share noise and transforms"
    assert len(made) == 1
