"""The options of the methods, each declared once: its value, its default, and how a page asks for it.

To add an option, add a line here and use it in the method's formula, which finds it in ``task.options``. Nothing heavy
is imported, as the command line's help does not wait for torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spade_core.pruning.kinds import Kind, Number, OneOf, Text, Whole
from spade_core.pruning.options import NOISE


@dataclass(frozen=True)
class MethodOption:
    """One option of a method.

    Attributes:
        kind: of its value; default: the value where nobody says one, None where the method finds its own.
        label, help: of the page's field.
    """

    kind: Kind[Any]
    default: object
    label: str
    help: str


def _count(what: str, most: int, default: int, text: str, least: int = 1) -> MethodOption:
    rule = f"must be a whole number from {least} to {most:,}"
    return MethodOption(Whole(f"number of {what}", least, most, rule), default, what.capitalize(), text)


def _number(what: str, low: float, high: float, default: float, text: str) -> MethodOption:
    kind = Number(what, low, high, f"must lie between {low:g} and {high:g}")
    return MethodOption(kind, default, what.capitalize(), text)


_SAMPLES = _count("samples", 100_000, 16, "More are smoother and take longer.")
_SHARE = "As a share of the picture's side; 1/7 is 32 of 224 pixels."
_BASELINE = MethodOption(
    OneOf("baseline", ("grey", "black", "white", "blurred")),
    "grey",
    "Baseline",
    "What stands for nothing: the mean grey of the training pictures, black, white, or the picture blurred.",
)
_LAYER = MethodOption(
    Text("layer"), None, "Layer", "Name of the layer that is read; empty: the last whose map the class depends on."
)

OPTIONS: dict[str, Mapping[str, MethodOption]] = {
    "smoothgrad": {
        "samples": _SAMPLES,
        "noise": _number("noise", 0, 10, NOISE, "Standard deviation, as a share of the picture's range."),
    },
    "noisegrad": {
        "samples": _count("samples", 100_000, 10, "Noisy copies of the network."),
        "noise": _number("noise", 0, 1, 0.01, "Standard deviation of the factor by which each weight is multiplied."),
    },
    "forgrad": {"cut": _count("cycles", 512, 15, "Frequencies of more cycles a picture are cut.")},
    "integrated_gradients": {
        "steps": _count("steps", 2000, 32, "Points on the way from the baseline to the picture."),
        "most_steps": _count(
            "most steps", 2000, 256, "So far the steps are doubled, until the map adds up to the logit within 5 %."
        ),
        "baseline": _BASELINE,
    },
    "deeplift": {"baseline": _BASELINE},
    "lrp": {
        "rule": MethodOption(
            OneOf("rule", ("alpha1-beta0", "epsilon", "gamma")),
            "alpha1-beta0",
            "Rule",
            "How layers share out relevance: the positive contributions alone; all of them, but for the weak; or a "
            "composite, gamma in the first half of the convolutions and epsilon in the second.",
        ),
        "epsilon": _number("epsilon", 0, 10, 0.25, "What absorbs weak relevance, as a share of a layer's output."),
        "gamma": _number("gamma", 0, 100, 0.25, "How much more the contributions count that speak for an output."),
    },
    "attention_rollout": {
        "heads": MethodOption(OneOf("heads", ("mean", "max")), "mean", "Heads", "How the heads of a layer are joined.")
    },
    "guided_gradcam": {"layer": _LAYER},
    "gradcam": {"layer": _LAYER},
    "scorecam": {
        "layer": _LAYER,
        "channels": _count("channels", 100_000, 0, "Only so many of the maps that vary most; 0: all.", least=0),
    },
    "occlusion": {
        "window": _number("window", 1e-3, 1, 1 / 7, _SHARE),
        "stride": _number("stride", 1e-3, 1, 1 / 14, _SHARE),
        "baseline": _BASELINE,
    },
    "gradient_shap": {
        "samples": _SAMPLES,
        "noise": _number("noise", 0, 10, 0.1, "Standard deviation, in normalised space."),
        "baseline": _BASELINE,
    },
    "expected_gradients": {
        "samples": _count("samples", 100_000, 64, "More are smoother and take longer."),
        "references": MethodOption(
            OneOf("references", ("blurred", "uniform")),
            "blurred",
            "References",
            "Where the ways to the picture begin: the picture under random blurs, or uniform noise.",
        ),
    },
    "lime": {
        "samples": _count("samples", 100_000, 400, "Random coverings of the picture."),
        "segments": _count("segments", 10_000, 60, "Superpixels, about."),
        "ridge": _number("ridge", 1e-6, 1e6, 1.0, "Penalty on the squares of the linear model's weights."),
        "baseline": _BASELINE,
    },
}
"""Method -> name -> option; a method that is not here has none."""
