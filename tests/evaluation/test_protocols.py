"""One picture's work: the same whenever and wherever it is done."""

from __future__ import annotations

import numpy as np
import pytest

from spade_core.evaluation.configuration import Configuration
from spade_core.evaluation.maps import Subject
from spade_core.evaluation.protocols import NOT_CAUSED, measure, randomized
from spade_core.evaluation.records import Record
from tests.evaluation.conftest import SETTINGS


def configured(benchmark, **other):
    return Configuration(benchmark, **{**SETTINGS, **other})


@pytest.fixture
def data(folder):
    return (folder / "0.png").read_bytes()


@pytest.mark.parametrize("benchmark", ["faithfulness", "sanity", "stability"])
def test_scores_are_of_the_picture_and_the_seed_alone(benchmark, small, data, folder, untouched):
    chosen = configured(benchmark)
    with untouched(small):
        first = measure(small, chosen, "a.png", data)
        other = measure(small, chosen, "a.png", (folder / "1.png").read_bytes())
        again = measure(small, chosen, "b.png", data)
    assert first.scores.shape == (2, 2, 2, len(chosen.metrics))
    assert np.isfinite(first.scores).all()
    assert np.array_equal(first.scores, again.scores)
    assert not np.array_equal(first.scores, other.scores)
    read = Record.from_dict(first.to_dict())
    assert np.array_equal(read.scores, first.scores)
    assert (read.picture, read.sha256) == ("a.png", first.sha256)


def test_redrawn_models_can_be_steered_by_the_intact_one(small, data):
    """Only where relevance steers: dense maps and unweighted traces are the same either way."""
    steered, own = (
        measure(small, configured(benchmark, arms=("dense", "default", "weighted", "relevance")), "a.png", data).scores
        for benchmark in ("sanity_steered", "sanity")
    )
    assert np.array_equal(steered[:2], own[:2])
    for arm in (2, 3):
        assert not np.array_equal(steered[arm], own[arm])


def test_insertion_minus_deletion_is_what_it_says(small, data):
    scores = measure(small, configured("faithfulness"), "a.png", data).scores
    assert scores[..., 0] == pytest.approx(scores[..., 1] - scores[..., 2])


def test_two_seeds_make_one_dense_map_and_two_traces(small, data):
    dense, pruned = measure(small, configured("stability"), "a.png", data).scores
    assert dense == pytest.approx(1)
    assert (pruned < 1).all()


def test_redrawing_all_stages_leaves_nothing_of_the_map_and_of_the_model_everything(small, noise, untouched):
    with untouched(small):
        drawn = [randomized(Subject(small, noise, 0, 0), depth) for depth in (1, 100)]
    for layer in small.layers:
        before = small.module.get_parameter(layer.parameter)
        last, every = (model.module.get_parameter(layer.parameter) for model in drawn)
        assert (last is before) == (layer.name != "head")
        assert every is not before
        assert float(every.std()) == pytest.approx(float(before.std()), rel=0.5)


def test_what_is_no_picture_is_skipped_with_the_reason(small):
    found = measure(small, configured("stability"), "a.png", b"%PDF-1.4")
    assert "PDF" in found.skipped
    assert found.scores.size == 0


def test_a_trigger_that_caused_nothing_does_not_count(small, data):
    found = measure(small, configured("trojan"), "a.png", data)
    assert found.skipped == NOT_CAUSED
    assert found.sha256
