"""Any model of timm by name, with its published weights and input.

timm builds the networks and adapts the weights; the files are found or fetched here, so that they are only read as
plain tensors whatever timm's version, that cached ones need no connection, and that a missing connection is noticed at
once (the hub's own client retries for most of a minute).
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spade_core.errors import ModelError
from spade_core.models.formats.hub import Repository
from spade_core.models.preprocessing import Preprocessing
from spade_core.models.registry import TIMM
from spade_core.models.weights import check_extent, load_hub_state, published_state
from spade_core.pictures.size import Size, as_size, sides_of

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

logger = logging.getLogger(__name__)

_TOLD = ("input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation", "pool_size", "fixed_input_size")
_OWN = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "scriptable"}
_OWN |= {"exportable", "no_jit", "num_classes", "model_name", "pretrained_strict", "features_only", "in_chans"}
_MOST = 2**17  # a number of a stranger's configuration
_MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def create(
    name: str,
    *,
    num_classes: int | None = None,
    state: Mapping[str, Tensor] | None = None,
    published: Mapping[str, object] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build timm's model ``name`` (``resnet10t`` or ``resnet10t.c3_in1k``).

    Args:
        num_classes: None: as many as the model was published with.
        state: its published weights; None: random ones.
        published: what is to replace timm's own record of it, as its input; arguments: of the network itself.

    Raises:
        ModelError: timm has no such model.
    """
    import timm

    _pretrained_cfg(name)
    overlay = dict(published or {}) | ({} if state is None else {"state_dict": state})
    given = {"pretrained_cfg_overlay": overlay, "num_classes": num_classes, **(arguments or {})}
    module = timm.create_model(name, state is not None, **given)
    module.pretrained_cfg.pop("state_dict", None)  # type: ignore[operator, union-attr]
    return module


def sized(name: str, size: Size | None) -> dict[str, tuple[int, int]]:
    """Return the arguments with which timm builds ``name`` for an input of ``size``; most networks take any."""
    cfg = _pretrained_cfg(name)
    return {} if size is None or cfg is None or not cfg.fixed_input_size else {"img_size": sides_of(size)}


def _pretrained_cfg(name: str) -> PretrainedCfg | None:
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f": take {', '.join(near)}" if near else ": see timm.list_models()"
        raise ModelError(f"timm has no model {name!r}{hint}.")
    known = [full for full in timm.list_pretrained(architecture) if full.partition(".")[0] == architecture]
    if tag and name not in known:
        raise ModelError(f"timm has no weights {name!r}: take {', '.join(known[:5]) or architecture}.")
    return timm.get_pretrained_cfg(name)


def load_pretrained(name: str, offline: str) -> nn.Module:
    """Build timm's model ``name`` with its published weights, from the usual caches or the internet.

    Args:
        offline: the models that need no download, for the error.

    Raises:
        ModelError: no such model, it has no published weights, or they cannot be fetched or do not fit.
    """
    cfg = _pretrained_cfg(name)
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        raise ModelError(f"timm publishes no weights for {name}: use --weights FILE --arch timm:{name}.")
    if cfg.hf_hub_id:
        state = published_state(_hub_file(name, cfg, offline))
    else:
        state = load_hub_state(str(cfg.url), f"timm:{name}", offline)
    try:
        return create(name, state=state)
    except (RuntimeError, KeyError) as error:
        logger.info("timm refused the weights of %s: %s", name, error)
        raise ModelError(f"The weights found for timm:{name} do not fit it: delete them from the cache.") from None


def _hub_file(name: str, cfg: PretrainedCfg, offline: str) -> Path:
    """Return the cached or newly fetched file of the Hugging Face hub."""
    repo, _, revision = str(cfg.hf_hub_id).partition("@")
    files = (cfg.hf_hub_filename,) if cfg.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
    title, advice = f"{TIMM}{name}", f"use --weights FILE --arch {TIMM}{name}; these work without one: {offline}"
    found = Repository(repo, revision or None, title, advice).file(*files)
    if found is None:
        raise ModelError(f"The hub has no weights file of {title}: {advice}.")
    return found


def from_config(config: Mapping[str, object], state: Mapping[str, Tensor], title: str) -> nn.Module:
    """Build the network of a ``config.json`` that timm saved, which nobody vouches for, with its weights.

    Raises:
        ModelError: timm has no such model, or the weights do not fit it.
    """
    name, published = str(config["architecture"]), _mapping(config.get("pretrained_cfg", config))
    _pretrained_cfg(name)
    arguments = {key: one for key, one in _mapping(config.get("model_args")).items() if _harmless(key, one, len(state))}
    count = config.get("num_classes", published.get("num_classes"))
    told = {key: published[key] for key in _TOLD if published.get(key) is not None} | {"num_classes": count}
    try:
        if not isinstance(count, int) or not 1 <= count <= _MOST:
            raise ValueError(f"num_classes is {count}")
        with torch.device("meta"):
            check_extent(create(name, num_classes=count, arguments=arguments), state, title)
        return create(name, num_classes=count, state=state, published=told, arguments=arguments)
    except _MISFITS as error:
        logger.info("timm refused %s: %s", title, error)
        reason = " ".join(str(error).split())[:120]
        raise ModelError(
            f"The weights of {title} do not fit its config.json, timm's {name} ({reason}): give what belongs together."
        ) from None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _harmless(key: str, value: object, tensors: int) -> bool:
    """Whether an argument is one of the network alone: plain, and no number that only memory would refuse."""
    values = value if isinstance(value, list) else [value]
    plain = all(isinstance(one, bool | int | float | str) or one is None for one in values)
    most = tensors if re.search("depth|layers|blocks", key) else _MOST
    return key not in _OWN and plain and all(not isinstance(one, int) or one <= most for one in values)


def labels_of(config: Mapping[str, object]) -> tuple[str, ...] | None:
    """Return the class names of a ``config.json``: descriptions before names; None: it has none."""
    source = config if config.get("label_names") else _mapping(config.get("pretrained_cfg"))
    names, described = source.get("label_names"), _mapping(source.get("label_descriptions"))
    names = [names.get(str(index)) for index in range(len(names))] if isinstance(names, dict) else names
    return tuple(str(described.get(name, name)) for name in names) if isinstance(names, list) and names else None


def preprocessing_of(module: nn.Module) -> Preprocessing:
    """Return the evaluation transform of a timm model, from its data config.

    Raises:
        ModelError: it is another than resizing with a centre crop or without one.
    """
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(module)
    known = {"crop_mode": ("center", "squash"), "interpolation": ("bilinear", "bicubic")}
    if odd := [f"{name} {config[name]!r}" for name, values in known.items() if config[name] not in values]:
        raise ModelError(f"The model's pictures are made with {odd[0]}, not supported here: take another model.")
    size = as_size(config["input_size"][1:])
    resize = as_size([int(side / config["crop_pct"]) for side in sides_of(size)])
    mean, std = tuple(config["mean"]), tuple(config["std"])
    return Preprocessing(size, resize, mean, std, config["interpolation"], squash=config["crop_mode"] == "squash")


def classifier_of(module: nn.Module) -> str | None:
    """Return the name of a timm model's single classifier, if it has one."""
    name = module.pretrained_cfg.get("classifier")  # type: ignore[operator, union-attr]
    return name if isinstance(name, str) else None
