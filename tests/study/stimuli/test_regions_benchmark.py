"""The comparison of rules on synthetic maps: its columns say what they claim."""

from __future__ import annotations

import numpy as np

from benchmarks.study_regions import measures, table
from spade_core.study.stimuli.patches import Patches
from tests.study.stimuli.test_regions import noise, peak


def test_each_measure_is_what_its_name_says():
    near = Patches(20, (40, 40), (40, 10), (3.0, 0.5), (10.0, 14.0))
    hardly = Patches(20, (40, 10), (40, 72), (2.0, 0.5), (10.0, 10.0))
    far = Patches(20, (80, 80), (40, 50), (1.0, 0.5), (10.0, 8.0))
    line = measures("x", [near, hardly, far, far], 100, 0.25)
    assert "central  50%  clear  38%" in line
    assert "contrast  2.0  scores 1.75 0.50  one side  25%" in line


def test_the_rule_is_balanced_where_the_highest_windows_are_central():
    rng = np.random.default_rng(0)
    pictures = [(peak(56, *rng.uniform(20, 36, 2), 150.0) + 0.01, noise(seed, 56)) for seed in range(6)]
    earlier, _, rule, *_ = table(pictures)
    assert "central 100%" in earlier
    assert "central  50%" in rule
