"""The paper's toy example: the trace of a sample ends where the sample lies."""

from __future__ import annotations

import pytest
import torch

from benchmarks.toy import SAMPLES, ascend, inside, toy_trace, train_toy


@pytest.mark.long
def test_ascent_on_a_trace_ends_in_the_samples_disc():
    network = train_toy(steps=2000)
    shares = {}
    for name, net in (("dense", network), *((index, toy_trace(network, s)) for index, s in enumerate(SAMPLES))):
        points = torch.from_numpy(ascend(net, count=60, steps=300))
        shares[name] = [float(inside(points, disc).float().mean()) for disc in (0, 1)]
    assert shares["dense"][0] > 0.6
    assert shares[0][0] > 0.7
    assert shares[0][1] < 0.1
    assert shares[1][1] > 0.7
    assert shares[1][0] < 0.2
