"""Any model of timm by name, with its published weights and input.

timm builds the networks and adapts the weights; the files are found or fetched here, so that they are only read as
plain tensors whatever timm's version, that cached ones need no connection, and that a missing connection is noticed at
once (the hub's own client retries for most of a minute).
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from spade_core.errors import ModelError
from spade_core.models.preprocessing import Preprocessing
from spade_core.models.weights import check_reachable, load_hub_state, published_state

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

logger = logging.getLogger(__name__)


def create(name: str, *, num_classes: int | None = None, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Build timm's model ``name`` (``resnet10t`` or ``resnet10t.c3_in1k``).

    Args:
        num_classes: None: as many as the model was published with.
        state: its published weights; None: random ones.

    Raises:
        ModelError: timm has no such model.
    """
    import timm

    _pretrained_cfg(name)
    overlay = None if state is None else {"state_dict": state}
    return timm.create_model(name, state is not None, pretrained_cfg_overlay=overlay, num_classes=num_classes)


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
        module = create(name, state=state)
    except (RuntimeError, KeyError) as error:
        logger.info("timm refused the weights of %s: %s", name, error)
        raise ModelError(f"The weights found for timm:{name} do not fit it: delete them from the cache.") from None
    module.pretrained_cfg.pop("state_dict", None)  # type: ignore[operator, union-attr]
    return module


def _hub_file(name: str, cfg: PretrainedCfg, offline: str) -> Path:
    """Return the cached or newly fetched file of the Hugging Face hub."""
    from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    network_errors: tuple[type[Exception], ...] = (OSError,)  # requests' are; those of its successor httpx are not
    with contextlib.suppress(ImportError):
        network_errors += (importlib.import_module("httpx").HTTPError,)
    repo, _, revision = str(cfg.hf_hub_id).partition("@")
    files = (cfg.hf_hub_filename,) if cfg.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
    for file in files:
        if isinstance(cached := try_to_load_from_cache(repo, file, revision=revision or None), str):
            return Path(cached)
    try:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        check_reachable(hf_hub_url(repo, files[0], revision=revision or None))
        for file in files[:-1]:
            try:
                return Path(hf_hub_download(repo, file, revision=revision or None))
            except EntryNotFoundError:
                logger.info("%s has no %s", repo, file)
        return Path(hf_hub_download(repo, files[-1], revision=revision or None))
    except network_errors as error:
        logger.info("download of %s failed: %s", repo, error)
        raise ModelError(
            f"The weights of timm:{name} could not be fetched from {constants.ENDPOINT}/{repo}: connect to the "
            f"internet, put them into the Hugging Face cache ({constants.HF_HUB_CACHE}), or use --weights FILE "
            f"--arch timm:{name}; these work without one: {offline}."
        ) from None


def preprocessing_of(module: nn.Module) -> Preprocessing:
    """Return the evaluation transform of a timm model, from its data config.

    Raises:
        ModelError: the model reads pictures that are not square.
    """
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(module)
    height, size = config["input_size"][1:]
    if height != size:
        raise ModelError(f"This timm model reads pictures of {size} x {height} px: only square inputs are supported.")
    resize, mean, std = int(size / config["crop_pct"]), tuple(config["mean"]), tuple(config["std"])
    interpolation = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    return Preprocessing(size, resize, mean, std, interpolation, squash=config["crop_mode"] == "squash")


def classifier_of(module: nn.Module) -> str | None:
    """Return the name of a timm model's single classifier, if it has one."""
    name = module.pretrained_cfg.get("classifier")  # type: ignore[operator, union-attr]
    return name if isinstance(name, str) else None
