"""A dense model, its trace and the trace from a file are taken alike."""

from __future__ import annotations

import pytest
import torch

from spade_core.models.loaded import LoadedModel, Network, predict
from spade_core.pruning.spade import trace
from spade_core.pruning.trace_file import load_trace, trace_bytes


@pytest.fixture(scope="module")
def networks(small, noise, tmp_path_factory):
    made = trace(small, noise, sparsity=0.5, views=2)
    file = tmp_path_factory.mktemp("trace") / "trace.safetensors"
    file.write_bytes(trace_bytes(made))
    return [small, made, load_trace(file, model=small)]


def test_each_has_its_dense_model_and_the_same_input(networks, small, noise):
    expected = small.preprocessing(noise)
    for network in networks:
        assert isinstance(network, Network)
        assert network.dense is small
        assert torch.equal(network.input(noise), expected)
        assert predict(network, noise).shape == (len(small.labels),)


def test_the_input_is_of_the_weights_dtype(small, noise):
    fields = {name: getattr(small, name) for name in LoadedModel.__dataclass_fields__}
    double = LoadedModel(**{**fields, "module": torch.nn.Conv2d(3, 1, 1).double()})
    assert double.input(noise).dtype == double.dtype == torch.float64
    assert double.grey(7).shape == (1, 3, 7, 7)
    assert double.grey().shape[-1] == small.preprocessing.size
    assert double.grey().dtype == torch.float64
    assert not double.grey().any()


def test_a_record_names_the_model_its_weights_and_how_it_is_loaded(small):
    assert small.to_dict() == {"name": small.name, "sha256": small.sha256, "spec": small.spec}
