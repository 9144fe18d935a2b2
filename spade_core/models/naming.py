"""What people call a layer: its stage, its block and what it does, beside the name that code gives it.

Read from the name alone, by the habits of timm, torchvision and transformers; a name that follows none stays as it is.
"""

from __future__ import annotations

import re

_HABITS = tuple(
    (re.compile(pattern), first)
    for pattern, first in (
        (r"blocks\.(\d+)\.(\d+)(?:\.(.+))?", (1, 1)),  # timm's EfficientNets and MobileNets
        (r"layer(\d+)\.(\d+)(?:\.(.+))?", (0, 1)),  # ResNets
        (r"features\.denseblock(\d+)\.denselayer(\d+)(?:\.(.+))?", (0, 0)),
        (r"(?:stages|layers)\.(\d+)\.blocks\.(\d+)(?:\.(.+))?", (1, 1)),
        (r"features\.(\d+)\.(\d+)\.(.+)", (0, 1)),  # ConvNeXt and Swin of torchvision
    )
)
"""Patterns of stage, block and what is in it, and what is added to their numbers so that people count from 1."""
_STAGE = re.compile(r"(blocks|stages|layer|features\.denseblock)\.?(\d+)")
_BLOCK = re.compile(r"(?:[\w.]*?\.)?(?:encoder_layer_|blocks?\.|layers?\.)(\d+)\.(.+)")
_WORDS = (
    (r"conv_stem|stem|patch_embed|conv_proj|features\.0\.0|features\.conv0", "stem"),
    (r"conv_head|features\.18\.0", "head"),
    (r"logits", "the classes"),
    (r"classifier(\.\d+)?|fc|heads?(\.head|\.fc)?", "classifier"),
    (r".*downsample.*|.*shortcut.*", "shortcut"),
    (r".*se\.\w+", "squeeze and excitation"),
    (r".*conv_dw|.*dwconv", "depthwise"),
    (r".*conv_pwl", "projection"),
    (r".*conv_pw", "pointwise"),
    (r".*(qkv|in_proj\w*|query|key|value)", "attention, input"),
    (r".*(attn|attention|self_attention)\.(proj|out_proj|output).*", "attention, output"),
    (r".*(mlp|ffn)\.?(fc1|0)|.*intermediate.*", "MLP, first"),
    (r".*(mlp|ffn)\.?(fc2|3)|.*output\.dense", "MLP, second"),
    (r".*conv_?(\d+)", "convolution {0}"),
)
_KINDS = tuple((re.compile(pattern), word) for pattern, word in _WORDS)


def layer_title(name: str) -> str:
    """Return what people call a layer, or its name where no habit tells.

    >>> layer_title("blocks.1.1.conv_pw"), layer_title("layer4.0.conv2"), layer_title("blocks.3")
    ('stage 2, block 2, pointwise', 'stage 4, block 1, convolution 2', 'stage 4')
    """
    for habit, (to_stage, to_block) in _HABITS:
        if found := habit.fullmatch(name):
            inner = f", {_kind(found[3])}" if found[3] else ""
            return f"stage {int(found[1]) + to_stage}, block {int(found[2]) + to_block}{inner}"
    if found := _STAGE.fullmatch(name):
        return f"stage {int(found[2]) + (found[1] in ('blocks', 'stages'))}"
    if found := _BLOCK.fullmatch(name):
        return f"block {int(found[1]) + 1}, {_kind(found[2])}"
    return _kind(name)


def titled(name: str) -> str:
    """Return a layer's title with its name, which links and commands use, after it."""
    title = layer_title(name)
    return name if title == name else f"{title[0].upper()}{title[1:]} · {name}"


def _kind(name: str) -> str:
    for kind, word in _KINDS:
        if found := kind.fullmatch(name):
            return word.format(*found.groups()) if "{" in word else word
    return name
