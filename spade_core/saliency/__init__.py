"""Attribution methods on Captum, for dense models and traces alike (SPADE, section 4).

Here is what there is to choose from; a method's formula, and torch with it, is imported when it is first computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from pkgutil import resolve_name
from typing import TYPE_CHECKING

import numpy as np

from spade_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from spade_core.models.loaded import LoadedModel
    from spade_core.saliency.base import Task

__all__ = ["METHODS", "Method", "colour_limits", "top_of"]

SCALE_PERCENTILE = 99.5  # of |values|: a single hot pixel must not leave the rest of the map pale


@dataclass(frozen=True)
class Method:
    """An attribution method as people choose it; its formula is the function of its slug's name in ``module``.

    Attributes:
        slug, title: how it is chosen and shown.
        cost: ``fast`` (a few passes), ``medium`` (tens) or ``slow`` (hundreds).
        module: of this package.
        signed: whether its map has negative evidence; reads_layer: whether ``layer`` can be chosen.
        relu_only: whether it has a rule for ReLU and ReLU6 alone, and applies to no other network.
        options: name -> default and largest value of what can be set; whole numbers stay whole.
    """

    slug: str
    title: str
    cost: str
    module: str
    signed: bool = True
    reads_layer: bool = False
    relu_only: bool = False
    options: Mapping[str, tuple[int | float, int | float]] = field(default_factory=dict)

    @property
    def help(self) -> str:
        """One line with the method's paper, for people."""
        return _HELP[self.slug]

    def attribute(self, task: Task) -> Tensor:
        """Return the attribution ``(1, channels, height, width)``; its sum over the channels is the map."""
        return resolve_name(f"{__name__}.{self.module}:{self.slug}")(task)

    def unsupported(self, model: LoadedModel) -> str | None:
        """Return one sentence why the method cannot be applied to ``model``, or None."""
        return resolve_name(f"{__name__}.base:relu_only")(model, self.title) if self.relu_only else None

    def complete(self, given: Mapping[str, object]) -> dict[str, int | float]:
        """Return all options, ``given`` over the defaults.

        Raises:
            ConfigError: an option is unknown or out of its range.
        """
        for name in given:
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise ConfigError(f"{self.title} has no option {name!r}: it has {known}.")
        defaults = {name: default for name, (default, _) in self.options.items()}
        return {**defaults, **{name: self._checked(name, value) for name, value in given.items()}}

    def _checked(self, name: str, value: object) -> int | float:
        default, most = self.options[name]
        whole = isinstance(default, int)
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
        if not 0 < number <= most or (whole and number != int(number)):
            kind = "whole number" if whole else "number"
            raise ConfigError(
                f"The option {name} of {self.title} must be a positive {kind} up to {most}, not {value!r}."
            )
        return int(number) if whole else number


_HELP = {
    "saliency": "How strongly each pixel moves the logit: |gradient| (Simonyan et al. 2014).",
    "smoothgrad": "Mean of the gradient's magnitude at noisy copies of the picture (Smilkov et al. 2017).",
    "input_x_gradient": "Gradient times input: each pixel's share of the linearized logit (Shrikumar et al. 2016).",
    "integrated_gradients": "Gradients summed on the way from a grey picture to this one (Sundararajan et al. 2017).",
    "deeplift": "Differences from a grey picture, shared out activation by activation (Shrikumar et al. 2017).",
    "lrp": "The logit handed back layer by layer along what adds to it: alpha1-beta0, zB (Bach et al. 2015).",
    "guided_backprop": "Gradient with negative parts cut at every ReLU (Springenberg et al. 2015).",
    "guided_gradcam": "Guided backprop times the upsampled Grad-CAM (Selvaraju et al. 2017).",
    "gradcam": "Late feature maps weighted by their gradients, upsampled (Selvaraju et al. 2017).",
    "scorecam": "Late feature maps weighted by the class's score when only they show the picture (Wang et al. 2020).",
    "occlusion": "What the logit loses when a grey square covers a place (Zeiler & Fergus 2014).",
    "gradient_shap": "Expected gradients at random points between noise and picture (Lundberg & Lee 2017).",
    "lime": "A linear model of which superpixels matter, fitted to random coverings (Ribeiro et al. 2016).",
}
_SQUARE = {"window": (1 / 7, 1.0), "stride": (1 / 14, 1.0)}  # shares of the side: 32 and 16 of 224 px
_NOISY = {"samples": (16, 100_000), "noise": (0.15, 10.0)}
_SAMPLES = {"samples": (16, 100_000), "noise": (0.1, 10.0)}
_COVERINGS = {"samples": (400, 100_000), "segments": (60, 10_000), "ridge": (1.0, 1e6)}

_ALL = (
    Method("saliency", "Saliency (gradient)", "fast", "gradients", signed=False),
    Method("smoothgrad", "SmoothGrad", "medium", "gradients", signed=False, options=_NOISY),
    Method("input_x_gradient", "Input x gradient", "fast", "gradients"),
    Method("integrated_gradients", "Integrated gradients", "medium", "gradients", options={"steps": (32, 2000)}),
    Method("deeplift", "DeepLift", "fast", "rules", relu_only=True),
    Method("lrp", "LRP", "fast", "lrp"),
    Method("guided_backprop", "Guided backprop", "fast", "rules", relu_only=True),
    Method("guided_gradcam", "Guided Grad-CAM", "fast", "cam", reads_layer=True, relu_only=True),
    Method("gradcam", "Grad-CAM", "fast", "cam", reads_layer=True),
    Method("scorecam", "Score-CAM", "slow", "cam", signed=False, reads_layer=True),
    Method("occlusion", "Occlusion", "slow", "perturbation", options=_SQUARE),
    Method("gradient_shap", "Gradient SHAP", "medium", "gradients", options=_SAMPLES),
    Method("lime", "LIME", "slow", "perturbation", options=_COVERINGS),
)
METHODS: dict[str, Method] = {method.slug: method for method in _ALL}


def top_of(values: np.ndarray) -> float:
    """Return the unit in which a map is shown, its own: nearly its largest magnitude, and never 0.

    The values of a sparse trace are as a whole smaller than the dense model's, or larger; what is compared is where
    they lie. On one scale for both the fainter map would look empty.
    """
    strength = np.abs(values)
    return float(np.percentile(strength, SCALE_PERCENTILE)) or float(strength.max()) or 1.0


def colour_limits(signed: bool) -> tuple[float, float]:
    """Return what the colours span in that unit: zero-centred where a method is signed."""
    return (-1.0, 1.0) if signed else (0.0, 1.0)
