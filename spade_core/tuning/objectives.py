"""What can be tuned for, and what is taken where nothing is said; read by the command line's help, and so light."""

from __future__ import annotations

OBJECTIVES = {"trojan-auc": "trojan", "insertion-deletion": "faithfulness"}
"""Objective -> the benchmark whose first metric it is."""
OBJECTIVE, PROCESSING = "trojan-auc", "raw"
RATIOS = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
SPLIT = "tuning"
SWEEPS = 2  # over the stages, down and back
