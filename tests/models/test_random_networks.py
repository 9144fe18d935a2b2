"""Any small network: the dense model is bit-identical after its traces, and the maps are finite or refused.

``python -m benchmarks.random_networks`` is the long form.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.random_networks import check


@pytest.mark.long
@settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_random_networks_pass_the_door(draw):
    event = check(draw)
    assert event == "explained" or event.startswith("refused: ")
