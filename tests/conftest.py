"""Shared fixtures: two threads at most, a settings folder of its own, small models and pictures.

The heavy libraries are imported where they are used: the process that hands tests to the workers needs none.
"""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path

import pytest

from tests.faults import TESTS as FAULTS

gc.disable()  # until everything is imported: a fifth of the imports' time

if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    # Read when torch is loaded, here and in every process that a test starts. The workers share the cores, and threads
    # that wait for each other spin.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).parent
# Folders with files that take long.
FIRST = ("app", "evaluation", "cli", "old", "pruning", "results", "saliency", "trojan", "study")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Hand out what takes long first, the files that drive a browser before all: the last one decides the end."""

    def turn(item):
        folder = item.path.relative_to(TESTS).parts[0]
        return item.get_closest_marker("browser") is None, FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=turn)
    for item in items:
        if item.get_closest_marker("browser") or "postgres" in item.fixturenames:
            item.add_marker("long")
        if f"{item.path.relative_to(TESTS).as_posix()}::{item.originalname}" in FAULTS:
            item.add_marker("fault")


def pytest_collection_finish():
    """Let the garbage collector leave out what the libraries have made, and look seldom: it finds next to nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def own_data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path / "spade-data"))
    for name in ("SPADE_DEVICE", "SPADE_JOBS", "SPADE_MAX_H_BYTES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def few_threads():
    import torch

    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, min(2, torch.get_num_threads()) // workers))


@pytest.fixture(scope="session")
def small():
    from tests.nets import plain

    return plain()


@pytest.fixture(scope="session")
def noise():
    import numpy as np

    from spade_core.pictures.picture import Picture

    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Picture(pixels, "0" * 64, "noise.png")


@pytest.fixture(scope="session")
def coffee():
    from spade_core.pictures.picture import load_picture

    return load_picture("bundled:coffee")


_EMBEDDED = {}  # models by name and device


@pytest.fixture(scope="session")
def lite0():
    from spade_core.models.loading import load_model

    model = load_model("efficientnet_lite0", device="cpu")
    return _EMBEDDED.setdefault((model.name, model.device), model)


@pytest.fixture
def models_once(monkeypatch):
    """Load each embedded model once for all tests that say so; that nothing changes one is tested elsewhere."""
    from spade_core.models import loading

    load = loading._load_named

    def once(name, device):
        if not (name in loading.MODELS and loading.MODELS[name].offline):
            return load(name, device)
        if (name, device) not in _EMBEDDED:
            _EMBEDDED[name, device] = load(name, device)
        return _EMBEDDED[name, device]

    monkeypatch.setattr(loading, "_load_named", once)


def state_of(model):
    """Everything that must be the same before and after: weights, modes, hooks, gradients, RNG."""
    import numpy as np
    import torch

    module = model.module
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "weights": {name: value.clone() for name, value in module.state_dict().items()},
        "modes": [child.training for child in module.modules()],
        "hooks": sum(len(getattr(child, name)) for child in module.modules() for name in hooks),
        "gradients": [(value.requires_grad, value.grad is None) for value in module.parameters()],
        "types": [type(child) for child in module.modules()],
        "rng": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),  # noqa: NPY002 - the global generator is what is guarded
    }


def assert_same(before, after):
    import torch

    assert before.keys() == after.keys()
    for name, value in before["weights"].items():
        assert torch.equal(value, after["weights"][name]), name
    assert torch.equal(before["rng"], after["rng"])
    assert (before["numpy"] == after["numpy"]).all()
    for key in ("modes", "hooks", "gradients", "types"):
        assert before[key] == after[key], key


@pytest.fixture
def untouched():
    """A function that returns a context: the model is bit for bit the same after the block, however it ends."""

    @contextlib.contextmanager
    def guard(model):
        before = state_of(model)
        try:
            yield
        finally:
            assert_same(before, state_of(model))

    return guard
