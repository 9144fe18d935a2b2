"""Image classifiers of Hugging Face's transformers, built from a configuration that nobody vouches for.

The library gets plain values and plain tensors, never a path or a name: so it reads no file, asks no server and runs no
code but its own. Its attention is computed step by step ("eager"), which the methods for transformers can see.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from spade_core.errors import ModelError
from spade_core.models.preprocessing import Preprocessing
from spade_core.models.weights import check_extent
from spade_core.pictures.picture import Picture
from spade_core.pictures.size import Size, as_size, sides_of

logger = logging.getLogger(__name__)

_UNSAFE = re.compile(r"_.*|auto_map|attn_implementation|quantization_config|.*pretrained.*|use_kernels|torchscript")
_DEEP = re.compile(r".*(layers|depths?|blocks|stages|levels).*")  # of what there may be as many as tensors at most
_MOST = 2**17  # any other number of a configuration: sides, widths, heads, classes
_HOW = {"attn_implementation": "eager", "output_loading_info": True, "ignore_mismatched_sizes": True}
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
_ALIKE = 0.03  # of the range 0..1: mean difference of two crops that are rounded to different pixels


def build(config: Mapping[str, object], state: Mapping[str, Tensor], title: str) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the classifier with its weights, in eval mode, and notes.

    Raises:
        ModelError: transformers has no such classifier, or the weights do not fit it.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    kind = str(config["model_type"])
    safe = _plain({key: value for key, value in config.items() if key != "model_type"})
    _check_numbers(safe, len(state), title)
    try:
        settings = AutoConfig.for_model(kind, **safe)
        made: Any = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(settings)]
        architecture = _chosen(made, config.get("architectures"))
        with torch.device("meta"):
            plan = architecture(copy.deepcopy(settings))
        check_extent(plan, state, title)
        # No path, so that no adapter, code or other file beside the weights is looked for.
        with _quiet():
            module, found = architecture.from_pretrained(None, config=settings, state_dict=dict(state), **_HOW)
    except _errors() as error:
        if isinstance(error, ModelError):
            raise
        logger.info("transformers refused %s: %s", title, error)
        reason = str(error).strip().split("\n")[0][:120]
        raise ModelError(f"transformers builds no image classifier from {title} ({reason}): take another.") from None
    return module.eval(), _fitted(found, title)


def _errors() -> tuple[type[Exception], ...]:
    """Return what the library raises where a configuration makes no sense, of which it checks only a part."""
    from huggingface_hub.errors import StrictDataclassError

    plain = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, OSError)
    return (*plain, RuntimeError, StrictDataclassError, TypeError, ValueError)


def _chosen(made: Any, names: object) -> Any:
    """Return the class of a configuration: of several (with one head or two) the one that was saved."""
    several = made if isinstance(made, tuple) else (made,)
    wanted = names if isinstance(names, list) else []
    return next((one for one in several if one.__name__ in wanted), several[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's reports and progress bars away from the terminal, inside the block."""
    from transformers.utils import logging as told

    level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity(logging.CRITICAL)
    told.disable_progress_bar()
    try:
        yield
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()


def _fitted(found: Mapping[str, Any], title: str) -> tuple[str, ...]:
    """Return a note about what was left over; what is missing or of another shape is refused."""
    lacking = sorted(str(key) for key in found["missing_keys"] if not str(key).endswith("num_batches_tracked"))
    other = sorted(str(key[0] if isinstance(key, tuple) else key) for key in found["mismatched_keys"])
    if lacking or other:
        told = [
            f"{len(names)} {word} ({', '.join(names[:2])})"
            for names, word in ((lacking, "missing"), (other, "of another shape"))
            if names
        ]
        raise ModelError(
            f"The weights of {title} do not fit its config.json: {', '.join(told)}. Give the weights of a classifier."
        )
    left = sorted(map(str, found["unexpected_keys"]))
    return (f"{len(left)} tensors of the file are not used ({', '.join(left[:3])}).",) if left else ()


def _plain(value: Any) -> Any:
    """Return a configuration without what names files, code or kernels."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if not _UNSAFE.fullmatch(key)}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _numbers(one, str(key))
    elif isinstance(value, list):
        for one in value:
            yield from _numbers(one, name)
    elif isinstance(value, int):
        yield name, value


def _check_numbers(config: Mapping[str, object], tensors: int, title: str) -> None:
    """Refuse a configuration whose network would be far larger than its weights, before it is planned."""
    for name, value in _numbers(config):
        if name not in ("id2label", "label2id") and value > (tensors if _DEEP.fullmatch(name) else _MOST):
            raise ModelError(
                f"The config.json of {title} says {name} = {value}, which its weights do not have: "
                "give those that belong together."
            )


def labels_of(config: Mapping[str, object]) -> tuple[str, ...] | None:
    """Return the class names of ``id2label``; None: it has none, or only ``LABEL_0``, ``LABEL_1`` ..."""
    table = config.get("id2label")
    if not isinstance(table, dict) or not table:
        return None
    names = [str(table.get(str(index), "")).strip() for index in range(len(table))]
    plain = all(name in ("", f"LABEL_{index}") for index, name in enumerate(names))
    return None if plain else tuple(name or f"class {index}" for index, name in enumerate(names))


def preprocessing_of(config: Mapping[str, object], told: Mapping[str, object], title: str) -> Preprocessing:
    """Return the transform that equals the model's own image processor, with which it is compared on a picture.

    Args:
        told: its ``preprocessor_config.json``; empty: the usual one of the architecture.

    Raises:
        ModelError: it prepares pictures in a way that is not supported here.
    """
    try:
        processor = _processor(config, told)
        found = _transform(processor)
        difference = _difference(found, processor)
    except _errors() as error:
        logger.info("processor of %s: %s", title, error)
        reason = str(error).strip().split("\n")[0][:120]
        raise ModelError(
            f"The image processor of {title} cannot be followed ({reason}): wrap the model in Python, or give its "
            "weights with --arch, --mean and --std."
        ) from None
    if not difference <= _ALIKE:
        raise ModelError(
            f"The image processor of {title} ({type(processor).__name__}) prepares pictures in a way that is not "
            "supported here. Take a model with resizing, centre crop and normalization only."
        )
    return found


def _processor(config: Mapping[str, object], told: Mapping[str, object]) -> Any:
    """Return transformers' processor; where nothing is told, the usual one, of the size that the network reads."""
    from transformers import AutoConfig
    from transformers.models.auto.image_processing_auto import (
        IMAGE_PROCESSOR_MAPPING,
        get_image_processor_class_from_name,
    )

    name = str(told.get("image_processor_type") or told.get("feature_extractor_type") or "")
    name = name.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")
    made = get_image_processor_class_from_name(name) if name else None
    if made is None:
        kinds = IMAGE_PROCESSOR_MAPPING[type(AutoConfig.for_model(str(config["model_type"])))]
        usual = kinds.values() if isinstance(kinds, dict) else kinds
        made = next(one for one in usual if one is not None)
    settings = _plain(dict(told))
    size = config.get("image_size")
    if not told and isinstance(size, int | list):
        settings["size"] = dict(zip(("height", "width"), sides_of(as_size(size)), strict=True))
    return made.from_dict(settings)


def _transform(processor: Any) -> Preprocessing:
    size, resize, squash = _sides(processor)
    factor = 255 * float(processor.rescale_factor) if _does(processor, "do_rescale") else 255.0
    mean, std = [0.0] * 3, [1.0] * 3
    if _does(processor, "do_normalize"):
        mean, std = _triple(processor.image_mean), _triple(processor.image_std)
        if _does(processor, "include_top"):  # EfficientNet's divides twice
            std = [value * value for value in std]
    interpolation = _INTERPOLATIONS[int(processor.resample)]
    scaled = [tuple(value / factor for value in values) for values in (mean, std)]
    return Preprocessing(size, resize, scaled[0], scaled[1], interpolation, squash)


def _does(processor: Any, what: str) -> bool:
    return bool(getattr(processor, what, False))


def _triple(value: Any) -> list[float]:
    return [float(value)] * 3 if isinstance(value, int | float) else [float(one) for one in value]


def _sides(processor: Any) -> tuple[Size, Size, bool]:
    """Return the input's size, that before the crop as ``Preprocessing`` has it, and whether pictures are squashed."""
    size = dict(processor.size)
    if not _does(processor, "do_resize"):
        raise ValueError("it does not resize")
    if size.get("shortest_edge") and getattr(processor, "crop_pct", None):  # as ConvNeXt and PoolFormer do
        edge = int(size["shortest_edge"])
        return (edge, int(edge / processor.crop_pct), False) if edge < 384 else (edge, edge, True)
    crop = dict(processor.crop_size) if _does(processor, "do_center_crop") else size
    own = _size(crop)
    if size.get("shortest_edge"):
        return own, int(size["shortest_edge"]), False
    return own, _size(size), True


def _size(told: Mapping[str, int]) -> Size:
    if not told.get("height") or not told.get("width"):
        raise ValueError(f"its pictures have no height and width but {dict(told)}")
    return as_size([int(told["height"]), int(told["width"])])


def _difference(found: Preprocessing, processor: Any) -> float:
    """Return the mean difference between the two for a picture that is not square, of the range 0..1."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    side = max(sides_of(found.resize))
    pixels = np.array(coarse.resize((side * 3 // 2, side + 5), Image.Resampling.BICUBIC))
    own = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    ours = found(Picture(pixels, "0" * 64, "noise", ()))
    if own.shape != ours.shape:
        return float("inf")
    return float(((own - ours) * torch.tensor(found.std).view(1, 3, 1, 1)).abs().mean())
