"""The multinomial elastic net against scikit-learn's, and against what its minimum must satisfy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from spade_core.evaluation.baselines import elastic_net
from spade_core.evaluation.baselines.elastic_net import Linear, fit, path
from spade_core.progress import Cancelled


def samples(n=40, features=6, classes=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, features, generator=generator, dtype=torch.float64)
    truth = x[:, :classes] + 0.5 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return x, truth


def begin(x, classes=3):
    return Linear(x.new_zeros(classes, x.shape[1]), x.new_zeros(classes))


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(elastic_net, "STEPS", 5000)


@pytest.mark.parametrize(("penalty", "alpha"), [(0.1, 0.99), (0.02, 0.5)])
def test_the_minimum_for_hard_labels_is_scikit_learns(penalty, alpha, patient):
    x, truth = samples()
    labels = truth.argmax(1)
    wanted = torch.nn.functional.one_hot(labels, 3).double()
    found = fit(x, wanted, penalty, begin(x), alpha=alpha, tolerance=1e-10)
    reference = LogisticRegression(solver="saga", l1_ratio=alpha, C=1 / (penalty * len(x)), tol=1e-9, max_iter=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions that want the penalty named
        if "penalty" in reference.get_params() and reference.get_params()["penalty"] == "l2":
            reference.set_params(penalty="elasticnet")
        reference.fit(x.numpy(), labels.numpy())
    np.testing.assert_allclose(found.weight, reference.coef_, atol=1e-5)
    centred = [bias - bias.mean() for bias in (found.bias.numpy(), reference.intercept_)]
    np.testing.assert_allclose(*centred, atol=1e-5)
    assert 0 < int((found.weight == 0).sum()) < found.weight.numel() or alpha == 0.5


def test_no_nudge_of_a_minimum_for_probabilities_is_better(patient):
    x, truth = samples()
    wanted, penalty, alpha = (2 * truth).softmax(1), 0.05, 0.9
    found = fit(x, wanted, penalty, begin(x), alpha=alpha, tolerance=1e-12)

    def cost(at):
        entropy = -(wanted * at(x).log_softmax(1)).sum(1).mean()
        return float(entropy + penalty * (alpha * at.weight.abs().sum() + (1 - alpha) / 2 * at.weight.square().sum()))

    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        nudges = [1e-3 * torch.randn(one.shape, generator=generator, dtype=one.dtype) for one in vars(found).values()]
        assert cost(Linear(found.weight + nudges[0], found.bias + nudges[1])) > cost(found)


def test_a_path_begins_at_nothing_and_grows():
    x, truth = samples()
    found = list(path(x, truth.softmax(1), count=6, smallest=1e-3))
    counts = [int((one.weight != 0).sum()) for one in found]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] > 8
    torch.testing.assert_close(found[0].bias.softmax(0), truth.softmax(1).mean(0))


def test_a_path_can_be_cancelled():
    def stop(done, total, note):
        raise Cancelled

    x, truth = samples()
    with pytest.raises(Cancelled):
        next(path(x, truth.softmax(1), count=3, smallest=0.1, progress=stop))
