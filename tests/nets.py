"""Networks for tests: the registry's architectures without downloads, a quarter as wide, and small ones.

What tests ask of an architecture lies in its modules and their wiring, which stay whole; a solver's time grows with the
cube of the width. At default initialization a network is homogeneous (no biases, unit batch norm), and wrong rules of
attribution look right; so biases and statistics are drawn at random, and logits are scaled to order 1.
"""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import nn

from spade_core.models.loaded import LoadedModel
from spade_core.models.loading import wrap_model
from spade_core.models.registry import MODELS

RELU_NETS = ["resnet18", "resnet50", "vgg16_bn", "densenet121", "mobilenet_v2", "efficientnet_lite0"]
OTHER_NETS = ["convnext_tiny", "vit_b_16", "swin_t"]
NARROW = ["mobilenet_v2", "efficientnet_lite0"]  # whose widths are multiples of 8 only, and small
CLASSES = 10


def randomize(module: nn.Module, size: int, seed: int = 0) -> nn.Module:
    """Draw biases and batch-norm statistics, then scale the last layer so that logits have a spread of about 1."""
    generator = torch.Generator().manual_seed(seed)
    module.eval()
    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, nn.BatchNorm2d):
                count = child.num_features
                child.running_mean.copy_(0.1 * torch.randn(count, generator=generator))
                child.running_var.copy_(0.7 + 0.6 * torch.rand(count, generator=generator))
                child.weight.copy_(0.8 + 0.4 * torch.rand(count, generator=generator))
            bias = getattr(child, "bias", None)
            if isinstance(bias, torch.Tensor):
                bias.copy_(0.1 * torch.randn(bias.shape, generator=generator))
        normalize_layers(module, torch.randn(2, 3, size, size, generator=generator))
        last = [child for child in module.modules() if isinstance(child, nn.Linear)][-1]
        last.weight.copy_(torch.randn(last.weight.shape, generator=generator))  # ViT's is zero at first
        logits = module(torch.randn(2, 3, size, size, generator=generator))
        last.weight /= (logits - last.bias).std().clamp(min=1e-6)
    return module


def normalize_layers(module: nn.Module, x: torch.Tensor) -> None:
    """Scale each convolution so that its output keeps a spread of 1: random deep networks otherwise fade or explode."""

    def scale(child: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        factor = output.std().clamp(min=1e-6)
        child.weight /= factor
        return output / factor

    handles = [child.register_forward_hook(scale) for child in module.modules() if isinstance(child, nn.Conv2d)]
    try:
        module(x)
    finally:
        for handle in handles:
            handle.remove()


WIDTHS = ("in_channels", "out_channels", "in_features", "out_features", "num_features")


def thin(module: nn.Module, by: int = 4) -> nn.Module:
    """Keep a ``by``-th of the channels; modules, kernels, heads, wiring, colours and classes stay as they are.

    Works in place, on the registry's convolutional networks and Swin, all of whose widths are multiples of 8.
    """
    last = [child for child in module.modules() if isinstance(child, nn.Linear)][-1]
    for child in module.modules():
        kept = {"in_channels"} if getattr(child, "in_channels", None) == 3 else set()
        kept |= {"out_features"} if child is last else set()
        for name in WIDTHS:
            if hasattr(child, name) and name not in kept:
                setattr(child, name, getattr(child, name) // by)
        if isinstance(child, nn.Conv2d) and child.groups > 1:
            child.groups //= by
        elif isinstance(child, nn.LayerNorm):
            child.normalized_shape = tuple(side // by for side in child.normalized_shape)
        for tensors in (child._parameters, child._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and tensor.ndim and not name.startswith("relative_position"):
                    tensors[name] = _part(tensor, by, rows=child is not last)
        if hasattr(child, "reset_parameters"):
            child.reset_parameters()
    return module


def _part(tensor: torch.Tensor, by: int, *, rows: bool) -> torch.Tensor:
    """Return the first rows and columns of a tensor, all of them where they are one (groups) or three (colours)."""
    cut = [side // by if side > 3 and (rows or place) else side for place, side in enumerate(tensor.shape[:2])]
    part = tensor.detach()[tuple(map(slice, cut))].clone()
    return nn.Parameter(part) if isinstance(tensor, nn.Parameter) else part


def loaded(name: str, size: int = 64) -> LoadedModel:
    """Return a registry architecture with random weights, few classes and a small input."""
    module = copy.deepcopy(_random(name, size))
    torch.manual_seed(0)  # what tests draw next does not depend on which of them asked first
    return wrap_model(module, size=size, name=name, device="cpu")


@cache
def _random(name: str, size: int) -> nn.Module:
    torch.manual_seed(0)
    return randomize(build(name, size), size)


def build(name: str, size: int = 64) -> nn.Module:
    """Return the bare architecture, made thin; ViT is built small, for the small input."""
    if name == "vit_b_16":
        from torchvision.models import VisionTransformer

        return VisionTransformer(
            image_size=size, patch_size=16, num_layers=4, num_heads=4, hidden_dim=96, mlp_dim=192, num_classes=CLASSES
        )
    module = thin(MODELS[name].build(CLASSES), 4 if name in NARROW else 8)
    if name == "vgg16_bn":
        shrink_pool(module)
    return module


def shrink_pool(vgg: nn.Module, side: int = 2) -> None:
    """Let fewer positions into the classifier, whose first layer is most of the network."""
    first, pooled = vgg.classifier[0], vgg.avgpool.output_size[0]
    vgg.avgpool = nn.AdaptiveAvgPool2d(side)
    vgg.classifier[0] = nn.Linear(first.in_features // pooled**2 * side**2, first.out_features)


class Plain(nn.Module):
    """Convolutions of every kind, residual, ReLU6 and ReLU: small enough for float64 references."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same")
        self.act0 = activation()
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.act1 = nn.ReLU()
        self.pointwise = nn.Conv2d(8, 12, 1)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=3, stride=2)
        self.act2 = activation()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act0(self.stem(x))
        x = x + self.act1(self.depthwise(x))
        x = self.act2(self.grouped(self.pointwise(x)))
        return self.head(self.pool(x).flatten(1))


def plain(size: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """Return :class:`Plain` as a loaded model."""
    torch.manual_seed(seed)
    return wrap_model(randomize(Plain(), size, seed).to(dtype), size=size, name="plain", device="cpu")
