"""How sparse each layer becomes: stages, presets and tuned tables.

A preset turns a model into a plan, layer by layer. Tuned tables live in ``assets/presets.json``; each names the
model, the objective and the pictures it was chosen on. Stages group layers as the architecture does (``blocks.3``,
``layer4``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict

from spade_core.config import ASSETS
from spade_core.errors import ConfigError

if TYPE_CHECKING:
    from spade_core.models.layers import Layer

# What belongs to the stage's name, by architecture family; everything else: the first part of the layer's name.
_STAGES = {
    "efficientnet_lite0": r"blocks\.\d+|[^.]+",
    "densenet": r"features\.(?:denseblock|transition)\d+|features\.[^.]+|[^.]+",
    "vit": r"encoder\.layers\.encoder_layer_\d+|[^.]+",
    "transformers": r"(?:\w+\.)*?(?:layers?|blocks?|stages?)\.\d+|[^.]+\.[^.]+|[^.]+",
}
_GENERIC = r"(?:features|blocks|layers|stages|stage|encoder\.layers?)\.[^.]*\d+|[^.]+"

_LRP = {1: (0.2, 0.8, 0.0), 2: (0.2, 0.0, 0.99, 0.95), 3: (0.8, 0.8, 0.9, 0.8, 0.0, 0.0), 4: (0.95, 0.95, 0.95)}
PAPER_LRP = {f"layer{stage}.{block}": ratio for stage, blocks in _LRP.items() for block, ratio in enumerate(blocks)}
PAPER_LRP["fc"] = 0.95
PAPER_RATIO = 0.5  # where neither people nor the authors say one
PAPER_OPTIONS: Mapping[str, str | float] = {"untouched": 0}
PAPER_METHOD: Mapping[str, str | float] = {
    "calibration": "independent",
    "views": 1024,
    "untouched": 0,
    "positions": 0,
}
WEIGHTED_RATIO = 0.8
WEIGHTED_METHOD: Mapping[str, str | float] = {
    "calibration": "sequential",
    "views": 4,
    "untouched": 3,
    "block_size": 1,
    "weighting": "target",
    "refit": 6.0,
}
DRAWING_RATIO, DRAWING_LAYERS = 0.95, 2
DRAWING_METHOD: Mapping[str, str | float] = {"calibration": "sequential", "views": 8, "untouched": 4, "block_size": 1}
VISUALIZATION_RATIO = 0.95
VISUALIZATION_SHARE = 0.68  # the authors' 17 of ResNet-50's weight matrices hold this share of its weights


@dataclass(frozen=True)
class Plan:
    """Per-layer targets and the options that were tuned with them.

    Attributes:
        ratios: layer name -> fraction of zeros; 0 is dense by request.
        options: calibration, views, weighting and the like that the preset prefers; what the user sets goes first.
    """

    ratios: Mapping[str, float]
    options: Mapping[str, str | float] = field(default_factory=dict)


def stage_of(layer: str, family: str) -> str:
    """Return the stage that a layer belongs to (``blocks.3`` for ``blocks.3.0.conv_dw``)."""
    found = re.match(_STAGES.get(family, _GENERIC), layer)
    return found.group(0) if found else layer


def stages(layers: tuple[Layer, ...], family: str) -> tuple[str, ...]:
    """Return the stages in the order of their first layer."""
    return tuple(dict.fromkeys(stage_of(layer.name, family) for layer in layers))


class Tuned(TypedDict):
    """A model's table in ``assets/presets.json``.

    ``chosen`` says how it was; ``options`` are what was tuned with the ratios; ``unweighted`` is that preset's table;
    ``methods`` are ratios of their own for some methods, none where no trace beats the dense map.
    """

    chosen: str
    stages: dict[str, float]
    depthwise: float
    options: dict[str, str | float]
    unweighted: NotRequired[Tuned]
    methods: NotRequired[dict[str, dict[str, float]]]


@cache
def _tables() -> dict[str, Tuned]:
    return json.loads((ASSETS / "presets.json").read_text(encoding="utf-8"))


def table(model: str) -> Tuned | None:
    """Return the tuned ``default`` table of a model, or None if it has none."""
    return _tables().get(model)


@dataclass(frozen=True)
class Request:
    """What a preset may look at."""

    model: str
    family: str
    layers: tuple[Layer, ...]
    sparsity: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    table: Tuned | None = None  # in the place of the model's own


def _by_stage(request: Request, ratios: Mapping[str, float], depthwise: float | None = None) -> dict[str, float]:
    """Give each layer its stage's ratio; depthwise convolutions have their own where it is set."""
    found = {layer.name: ratios.get(stage_of(layer.name, request.family), 0.0) for layer in request.layers}
    if depthwise is not None:
        found |= {layer.name: depthwise for layer in request.layers if layer.depthwise}
    return found


def _default(request: Request) -> Plan | None:
    if request.table is not None:
        _check_stages(request, request.table["stages"])
    return _tuned(request, request.table or table(request.model))


def _drawing(request: Request) -> Plan:
    """95 % where the picture's choice is made, the last layers; pruned earlier, a network forgets how to draw."""
    last = {layer.name for layer in request.layers[-DRAWING_LAYERS:]}
    return Plan({layer.name: DRAWING_RATIO * (layer.name in last) for layer in request.layers}, DRAWING_METHOD)


def _unweighted(request: Request) -> Plan | None:
    tuned = table(request.model)
    return _tuned(request, tuned and tuned.get("unweighted", tuned))


def _tuned(request: Request, tuned: Tuned | None) -> Plan | None:
    return tuned and Plan(_by_stage(request, tuned["stages"], tuned["depthwise"]), tuned["options"])


def _weighted(request: Request) -> Plan:
    ratio = WEIGHTED_RATIO if request.sparsity is None else request.sparsity
    return Plan(even(request, ratio).ratios, WEIGHTED_METHOD)


def _paper(request: Request) -> Plan:
    authors = any(layer.name.startswith("layer3.5") for layer in request.layers)
    if authors and request.sparsity is None:
        return Plan(_paper_lrp(request).ratios, PAPER_METHOD)
    ratio = PAPER_RATIO if request.sparsity is None else request.sparsity
    return Plan({layer.name: ratio for layer in request.layers}, PAPER_METHOD)


def _uniform(request: Request) -> Plan:
    if request.sparsity is None:
        raise ConfigError("The preset 'uniform' needs a sparsity: give one between 0 and 1, such as 0.5.")
    return Plan({layer.name: request.sparsity for layer in request.layers})


def even(request: Request, ratio: float) -> Plan:
    """Return one ratio for all but depthwise layers, which hold few weights and carry much (4 % of Lite0's)."""
    return Plan({layer.name: 0.0 if layer.depthwise else ratio for layer in request.layers})


def _check_stages(request: Request, ratios: Mapping[str, float]) -> None:
    known = stages(request.layers, request.family)
    for stage in ratios:
        if stage not in known and stage != "depthwise":
            raise ConfigError(f"{request.model} has no stage {stage!r}: take one of {', '.join(known)}.")


def _custom(request: Request) -> Plan:
    _check_stages(request, request.stages)
    return Plan(_by_stage(request, request.stages, request.stages.get("depthwise")))


def _paper_visualization(request: Request) -> Plan:
    """95 % on the last stages, everything else dense (PAPER: fc, layer4, layer3.5, layer3.4 of ResNet-50)."""
    if request.family == "resnet" and any(layer.name.startswith("layer3.5") for layer in request.layers):
        chosen = {layer.name for layer in request.layers if re.match(r"fc|layer4|layer3\.[45]", layer.name)}
    else:
        chosen = _last_share(request, VISUALIZATION_SHARE)
    return Plan({layer.name: VISUALIZATION_RATIO * (layer.name in chosen) for layer in request.layers}, PAPER_OPTIONS)


def _last_share(request: Request, share: float) -> set[str]:
    """Return the layers of the last whole stages that together hold at most ``share`` of the weights."""
    budget = share * sum(layer.numel for layer in request.layers)
    chosen: set[str] = set()
    for stage in reversed(stages(request.layers, request.family)):
        members = [layer for layer in request.layers if stage_of(layer.name, request.family) == stage]
        budget -= sum(layer.numel for layer in members)
        if budget < 0 and chosen:
            break
        chosen |= {layer.name for layer in members}
    return chosen


def _paper_lrp(request: Request) -> Plan:
    if not any(layer.name.startswith("layer3.5") for layer in request.layers):
        raise ConfigError(
            "The preset 'paper-lrp' holds the authors' ratios of ResNet-50: take 'paper' for another model."
        )
    blocks = {layer.name: ".".join(layer.name.split(".")[:2]) for layer in request.layers}
    return Plan({name: PAPER_LRP.get(block, 0.0) for name, block in blocks.items()}, PAPER_OPTIONS)


@dataclass(frozen=True)
class Preset:
    """A preset as people choose it. ``plan`` gives None where the ratios are found by a search."""

    slug: str
    title: str
    help: str
    plan: Callable[[Request], Plan | None]


_DRAWING = "95 % on the last two layers, the rest dense: the drawing keeps its sharpness and follows the picture."
_WEIGHTED = "80 %, counting what speaks for the class: much cleaner magnitudes, less faithful signs."
_PAPER = "As the paper: 1,024 random views, each layer solved on its own, all receptive fields alike, nothing refitted."
_UNWEIGHTED = "The default of version 0.1: even ratios, all receptive fields alike, nothing refitted."
_AUTO = "The highest tried even ratio that keeps the class; depthwise layers stay dense."
_VISUAL = "95 % on the last stages, the rest dense."
_PRESETS = (
    Preset("default", "Default", "Ratios tuned for this model; 'auto' where no table exists.", _default),
    Preset("drawing", "Drawing", _DRAWING, _drawing),
    Preset("weighted", "Weighted", _WEIGHTED, _weighted),
    Preset("auto", "Auto", _AUTO, lambda _: None),
    Preset("uniform", "Uniform", "The same ratio in every layer but the first.", _uniform),
    Preset("paper", "Paper: method", _PAPER, _paper),
    Preset("unweighted", "Unweighted", _UNWEIGHTED, _unweighted),
    Preset("paper-visualization", "Paper: visualization", _VISUAL, _paper_visualization),
    Preset("paper-lrp", "Paper: LRP", "The authors' ratios for ResNet-50, per residual block.", _paper_lrp),
    Preset("custom", "Custom", "Your own ratio for each stage.", _custom),
)
PRESETS: dict[str, Preset] = {preset.slug: preset for preset in _PRESETS}


def resolve(preset: str, request: Request) -> Plan | None:
    """Return the plan of a preset; None means that the ratio must be searched (``auto``).

    Raises:
        ConfigError: a missing ratio, or a preset that does not fit the model.
    """
    return PRESETS[preset].plan(request)
