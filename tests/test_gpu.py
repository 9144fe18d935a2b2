"""The same flow on an accelerator; skipped, with a word, where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spade_core as sc

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the GPU flow was not tested"),
]


def test_cuda_agrees_with_the_cpu(coffee):
    found = {}
    for device in ("cpu", "cuda"):
        model = sc.load_model("efficientnet_lite0", device=device)
        trace = sc.trace(model, coffee, views=8)
        found[device] = trace, sc.explain(trace, coffee, method="saliency").map, sc.predict(trace, coffee)
    cpu, cuda = found["cpu"], found["cuda"]
    assert cuda[0].report.sparsity == pytest.approx(cpu[0].report.sparsity, abs=1e-6)
    assert cuda[0].fidelity.target == cpu[0].fidelity.target
    assert np.abs(cuda[2] - cpu[2]).max() < 0.05
    assert np.corrcoef(cuda[1].ravel(), cpu[1].ravel())[0, 1] > 0.9
