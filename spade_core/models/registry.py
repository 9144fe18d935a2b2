"""The registry of models: which there are, how each is built, and where its weights come from."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from spade_core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

DEFAULT_MODEL = "efficientnet_lite0"
TROJAN_MODEL = "efficientnet_lite0_trojan"
TIMM = "timm:"


@dataclass(frozen=True)
class Entry:
    """One registered model.

    Attributes:
        title: for people.
        family: of architectures that share stages and feature layouts.
        architecture: ``module:function`` of the library that has it.
        weights: torchvision's enum member as ``"ResNet18_Weights.IMAGENET1K_V1"``, or the ``module:function`` that
            reads those of an embedded model.
    """

    title: str
    family: str
    architecture: str
    weights: str

    def build(self, num_classes: int) -> nn.Module:
        """Make the module, without weights."""
        return resolve_name(self.architecture)(num_classes=num_classes)

    @property
    def offline(self) -> bool:
        """Whether the weights come with the installation."""
        return ":" in self.weights

    def embedded_state(self, module: nn.Module) -> Mapping[str, Tensor]:
        """Return the weights that come with the installation, under the names of ``module``."""
        return resolve_name(self.weights)(module)


_LITE0 = "timm.models.efficientnet:tf_efficientnet_lite0"

MODELS: dict[str, Entry] = {
    DEFAULT_MODEL: Entry(
        "EfficientNet-Lite0 (embedded)", "efficientnet_lite0", _LITE0, "spade_core.models.pretrained:lite0_state"
    ),
    TROJAN_MODEL: Entry(
        "Backdoored EfficientNet-Lite0", "efficientnet_lite0", _LITE0, "spade_core.models.pretrained:trojan_state"
    ),
    "resnet18": Entry("ResNet-18", "resnet", "torchvision.models:resnet18", "ResNet18_Weights.IMAGENET1K_V1"),
    # V1, not the newer recipe: it is the network of the paper and of most of the literature on attribution.
    "resnet50": Entry("ResNet-50", "resnet", "torchvision.models:resnet50", "ResNet50_Weights.IMAGENET1K_V1"),
    "mobilenet_v2": Entry(
        "MobileNetV2", "mobilenet_v2", "torchvision.models:mobilenet_v2", "MobileNet_V2_Weights.IMAGENET1K_V1"
    ),
    "vgg16_bn": Entry("VGG-16 with batch norm", "vgg", "torchvision.models:vgg16_bn", "VGG16_BN_Weights.IMAGENET1K_V1"),
    "densenet121": Entry(
        "DenseNet-121", "densenet", "torchvision.models:densenet121", "DenseNet121_Weights.IMAGENET1K_V1"
    ),
    "convnext_tiny": Entry(
        "ConvNeXt-Tiny", "convnext", "torchvision.models:convnext_tiny", "ConvNeXt_Tiny_Weights.IMAGENET1K_V1"
    ),
    "vit_b_16": Entry("ViT-B/16", "vit", "torchvision.models:vit_b_16", "ViT_B_16_Weights.IMAGENET1K_V1"),
    "swin_t": Entry("Swin-T", "swin", "torchvision.models:swin_t", "Swin_T_Weights.IMAGENET1K_V1"),
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
