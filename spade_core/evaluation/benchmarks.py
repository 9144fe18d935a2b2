"""What can be measured of a map: metrics, and the benchmarks that take some of them; each declared once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spade_core.models.registry import DEFAULT_MODEL, TROJAN_MODEL


@dataclass(frozen=True)
class Metric:
    """A number that says how good a map is.

    Attributes:
        slug, title, help: the column, and how people read it.
        higher: whether more is better.
        perfect: what nothing exceeds, where an *error removed* is told of it; else NaN.
        digits: after the point, in tables.
    """

    slug: str
    title: str
    help: str
    higher: bool = True
    perfect: float = math.nan
    digits: int = 2

    @property
    def has_error(self) -> bool:
        """Whether an error removed is told of it."""
        return not math.isnan(self.perfect)

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.higher else -1


DEPTHS = (10, 25, 50, 75, 100)
"""Shares in percent of a network's stages, from the last on, that the sanity check redraws."""

_REDRAWN = "Rank correlation with the intact model's map after {}% of the stages were redrawn (Adebayo et al. 2018)."
_METRICS = (
    Metric("trojan_auc", "Trojan AUC, %", "Area under the ROC curve of magnitudes against the mask.", perfect=100),
    Metric("pointing_game", "Pointing Game, %", "Whether the highest magnitude lies on the mask.", digits=1),
    Metric("energy", "Energy in the mask, %", "Share of the magnitudes' sum in the mask (Wang et al. 2020).", digits=1),
    Metric("insertion", "Insertion, %", "Area under the probability while pixels come in (Petsiuk et al. 2018)."),
    Metric("deletion", "Deletion, %", "Area under the probability while pixels go.", higher=False),
    Metric("insertion_deletion", "Insertion minus deletion, %", "One area minus the other."),
    *(
        Metric(f"redrawn_{depth}", f"Correlation, {depth} % redrawn", _REDRAWN.format(f"{depth} "), higher=False)
        for depth in DEPTHS
    ),
    Metric("seed_correlation", "Correlation of two seeds", "Rank correlation of the maps that two seeds make."),
)
METRICS: dict[str, Metric] = {metric.slug: metric for metric in _METRICS}


@dataclass(frozen=True)
class Benchmark:
    """A measurement over a folder; what is done with a picture is the function of its slug's name in ``protocols``.

    Attributes:
        metrics: slugs, the one that claims are made of first.
        model, methods, arms: what is taken where nothing is said.
        redraws: whether arms are made anew of models whose weights were redrawn.
        signed: whether its metrics tell a map's signs.
    """

    slug: str
    title: str
    help: str
    metrics: tuple[str, ...]
    model: str
    methods: tuple[str, ...] = ("saliency", "input_x_gradient", "integrated_gradients")
    arms: tuple[str, ...] = ("dense", "weighted")
    redraws: bool = False
    signed: bool = False


_FAST = ("saliency", "input_x_gradient", "guided_backprop")
_TROJAN = "do maps point at the trigger that caused the prediction?"
_FAITHFUL = "do pixels that maps point at move the dense model's prediction?"
_SANITY = "do maps change with the model's weights?"
_STEERED = "the same, where the intact model's relevance steers traces and guides all the while."
_CHANGES = tuple(f"redrawn_{depth}" for depth in DEPTHS)
_STABLE = "do two seeds make the same map?"
_CURVES = ("insertion_deletion", "insertion", "deletion")
_ALL = (
    Benchmark("trojan", "Trojan", _TROJAN, ("trojan_auc", "pointing_game", "energy"), TROJAN_MODEL),
    Benchmark("faithfulness", "Faithfulness", _FAITHFUL, _CURVES, DEFAULT_MODEL, signed=True),
    Benchmark("sanity", "Sanity", _SANITY, _CHANGES, TROJAN_MODEL, _FAST, redraws=True),
    Benchmark("sanity_steered", "Sanity, steered", _STEERED, _CHANGES, TROJAN_MODEL, _FAST, redraws=True),
    Benchmark("stability", "Stability", _STABLE, ("seed_correlation",), TROJAN_MODEL, _FAST),
)
BENCHMARKS: dict[str, Benchmark] = {benchmark.slug: benchmark for benchmark in _ALL}
