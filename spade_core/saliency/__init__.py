"""Attribution methods on Captum, for dense models and traces alike (SPADE, section 4).

Here is what there is to choose from; a method's formula, and torch with it, is imported when it is first computed.
"""

from __future__ import annotations

from dataclasses import replace

from spade_core.pictures.scales import top_of
from spade_core.saliency.method import Method, MethodOptions
from spade_core.saliency.options import OPTIONS

__all__ = ["COSTS", "METHODS", "METHOD_OPTIONS", "Method", "colour_limits", "top_of"]
COSTS = ("fast", "medium", "slow")
"""A few passes, tens, hundreds."""

_HELP = {
    "saliency": "How strongly each pixel moves the logit: |gradient| (Simonyan et al. 2014).",
    "smoothgrad": "Mean of the gradient's magnitude at noisy copies of the picture (Smilkov et al. 2017).",
    "noisegrad": "Mean of the gradient's magnitude over copies of the network with noisy weights (Bykov et al. 2022).",
    "forgrad": "The gradient's magnitude without its high spatial frequencies (Muzellec et al. 2024).",
    "input_x_gradient": "Gradient times input: each pixel's share of the linearized logit (Shrikumar et al. 2016).",
    "integrated_gradients": "Gradients summed on the way from a grey picture to this one (Sundararajan et al. 2017).",
    "deeplift": "Differences from a grey picture, shared out activation by activation (Shrikumar et al. 2017).",
    "lrp": "The logit handed back layer by layer along what adds to it: alpha1-beta0, zB (Bach et al. 2015).",
    "libragrad": "Input times a gradient that a transformer's layers keep in balance (Mehri et al. 2024).",
    "attention_rollout": "Where all layers' attention looks, whatever the class (Abnar & Zuidema 2020).",
    "legrad": "How the class feels each layer's attention to each patch (Bousselham et al. 2024).",
    "guided_backprop": "Gradient with negative parts cut at every ReLU (Springenberg et al. 2015).",
    "guided_gradcam": "Guided backprop times the upsampled Grad-CAM (Selvaraju et al. 2017).",
    "gradcam": "Late feature maps weighted by their gradients, upsampled (Selvaraju et al. 2017).",
    "scorecam": "Late feature maps weighted by the class's score when only they show the picture (Wang et al. 2020).",
    "occlusion": "What the logit loses when a grey square covers a place (Zeiler & Fergus 2014).",
    "gradient_shap": "Expected gradients at random points between noise and picture (Lundberg & Lee 2017).",
    "expected_gradients": "Gradients between the picture and random references, blurred or noise (Erion et al. 2021).",
    "lime": "A linear model of which superpixels matter, fitted to random coverings (Ribeiro et al. 2016).",
}


_RELUS = "base:relu_only"
_ALL = (
    Method("saliency", "Saliency (gradient)", "fast", "gradients", signed=False),
    Method("smoothgrad", "SmoothGrad", "medium", "sampled", signed=False),
    Method("noisegrad", "NoiseGrad", "medium", "sampled", signed=False),
    Method("forgrad", "FORGrad", "fast", "gradients", signed=False),
    Method("input_x_gradient", "Input x gradient", "fast", "gradients"),
    Method("integrated_gradients", "Integrated gradients", "medium", "gradients"),
    Method("deeplift", "DeepLift", "fast", "rules", needs=_RELUS),
    Method("lrp", "LRP", "fast", "lrp"),
    Method("libragrad", "LibraGrad", "fast", "lrp", needs="attention:no_attention"),
    Method(
        "attention_rollout",
        "Attention rollout",
        "fast",
        "attention",
        signed=False,
        needs="attention:no_whole_attention",
    ),
    Method("legrad", "LeGrad", "medium", "attention", signed=False, needs="attention:no_blocks"),
    Method("guided_backprop", "Guided backprop", "fast", "rules", needs=_RELUS),
    Method("guided_gradcam", "Guided Grad-CAM", "fast", "cam", needs=_RELUS),
    Method("gradcam", "Grad-CAM", "fast", "cam"),
    Method("scorecam", "Score-CAM", "slow", "cam", signed=False),
    Method("occlusion", "Occlusion", "slow", "perturbation"),
    Method("gradient_shap", "Gradient SHAP", "medium", "sampled"),
    Method("expected_gradients", "Expected gradients", "medium", "sampled"),
    Method("lime", "LIME", "slow", "perturbation"),
)
METHODS: dict[str, Method] = {
    method.slug: replace(method, help=_HELP[method.slug], options=OPTIONS.get(method.slug, {})) for method in _ALL
}
METHOD_OPTIONS = MethodOptions(METHODS)


def colour_limits(signed: bool) -> tuple[float, float]:
    """Return what the colours span in the unit ``top_of``: zero-centred where a method is signed."""
    return (-1.0, 1.0) if signed else (0.0, 1.0)
