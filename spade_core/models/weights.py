"""Weights from files that nobody vouches for, and from the usual caches.

Only safetensors and ``torch.load(weights_only=True)`` state dicts are read, so no pickle of a stranger is executed.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spade_core.errors import ModelError

logger = logging.getLogger(__name__)

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module", "ema_state_dict", "state_dict_ema")
_DEPTH = 4  # of dictionaries in dictionaries
_SLACK, _SMALL = 1.5, 2**17  # how much larger than its weights a network may be: buffers, a few of them recomputed
_AVERAGES = ("ema", "averag", "teacher", "swa")  # in prefixes of second copies of a network
# What a damaged stream makes of torch's restricted unpickler.
READING_ERRORS: tuple[type[Exception], ...] = (ArithmeticError, AttributeError, EOFError, LookupError, OSError)
READING_ERRORS += (RuntimeError, TypeError, ValueError, pickle.UnpicklingError, struct.error)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or from a ``torch.save`` of tensors.

    Dictionaries in it (``{"state_dict": ...}``) become prefixes of their names: ``state_dict.conv.weight``.

    Raises:
        ModelError: the file is absent, damaged, or holds more than tensors; one sentence says which.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"There is no weights file {path}: check the path.")
    if path.stat().st_size == 0:
        raise ModelError(f"The weights file {path.name} is empty: save it again.")
    with path.open("rb") as file:
        head = file.read(9)
    if path.suffix != ".safetensors" and head[8:] != b"{":
        return _flat(_read_torch(path, head), path.name)
    try:
        # Read, not mapped: a map leaves blocks of memory behind, and a file that is cut meanwhile ends the process.
        state = load_file(path, backend="pread")
    except (SafetensorError, OSError, ValueError) as error:
        logger.info("safetensors refused %s: %s", path, error)
        raise ModelError(f"{path.name} is not a readable safetensors file: save or copy it again.") from None
    return _flat(state, path.name)


def _read_torch(path: Path, head: bytes) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except READING_ERRORS as error:
        logger.info("torch refused %s: %s", path, error)
        name = path.name
        if not isinstance(error, pickle.UnpicklingError):
            sentence = f"{name} is damaged or no state dict: save it again with torch.save or safetensors."
        elif zipfile.is_zipfile(path) or head[:1] == b"\x80":
            sentence = f"{name} holds Python objects, not only tensors, and was not opened: "
            sentence += "save it with torch.save(model.state_dict(), file) or as safetensors."
        else:
            sentence = f"{name} is no weights file: give a safetensors file or a saved state dict."
        raise ModelError(sentence) from None


def _flat(state: object, name: str) -> dict[str, Tensor]:
    found = dict(_tensors(state)) if isinstance(state, Mapping) else {}
    if not found:
        advice = "save it with torch.save(model.state_dict(), file)"
        raise ModelError(f"{name} holds no state dict (names to tensors): {advice}.")
    for key, value in found.items():
        unusual = value.is_nested or value.is_quantized or value.is_complex()
        if unusual or value.layout != torch.strided or value.device.type != "cpu":
            kinds = f"quantized, sparse, complex or absent numbers (in {key})"
            raise ModelError(f"{name} holds {kinds}: save plain tensors.")
    return found


def _tensors(state: Mapping[object, object], prefix: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a dictionary and of those in it, by dotted names; what else it holds is no weight."""
    for key, value in state.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping) and depth:
            yield from _tensors(value, f"{prefix}{key}.", depth - 1)


def published_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict as :func:`read_state`, without the usual dictionaries around it; the rest is not looked at."""
    state = read_state(path)
    for _ in range(_DEPTH):
        prefix = next((f"{one}." for one in _WRAPPERS if any(key.startswith(f"{one}.") for key in state)), "")
        if prefix:
            state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return state


@dataclass(frozen=True)
class Fitting:
    """The tensors of a file that have an architecture's names.

    Attributes:
        state: by the architecture's names, the ``prefix`` before them taken off.
        left: the file's other names; those of ``state`` that the architecture does not have are not among them.
        moved: name -> the file's, of what lies under another prefix, as a head beside its backbone does.
    """

    state: Mapping[str, Tensor]
    prefix: str
    left: tuple[str, ...]
    moved: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence about what was found under another prefix, and one about what was left over."""
        few = ", ".join(list(self.moved.values())[:3]) + (" ..." if len(self.moved) > 3 else "")
        apart = (f"Taken from beside {self.prefix.rstrip('.') or 'the others'}: {few}.",) if self.moved else ()
        return (*apart, *self._surplus())

    def _surplus(self) -> tuple[str, ...]:
        if not self.left:
            return ()
        more = f" and {len(self.left) - 3} more" if len(self.left) > 3 else ""
        taken = f", those under {self.prefix.rstrip('.')} were taken" if self.prefix else ""
        return (f"{len(self.left)} tensors of the file are not used ({', '.join(self.left[:3])}{more}){taken}.",)


def best_match(state: Mapping[str, Tensor], module: nn.Module) -> Fitting:
    """Return the part of ``state`` whose names, behind a common prefix, fit ``module`` best.

    Wrappers (``module.``, ``_orig_mod.``, ``model.``, in any order and depth) put prefixes before the names of a
    network; of equal matches the one comes first that is no average (``ema``), then the first of the file. Names that
    are no part of a module of the network (``criterion.weight``) are left over.

    Args:
        module: may be on the meta device.
    """
    own = {name: value.shape for name, value in module.state_dict().items()}
    scores: Counter[str] = Counter()
    for key, value in state.items():
        for start in _starts(key):
            name = key[start:]
            if name in own:  # a shape may differ, as of a classifier with other classes
                scores[key[:start]] += 2 if own[name] == value.shape else 1
    order = {prefix: place for place, prefix in enumerate(scores)}
    prefix = min(scores, key=lambda one: (-scores[one], _is_average(one), order[one]), default="")
    tops = {name.split(".")[0] for name in own}
    inside = {key: key.removeprefix(prefix) for key in state if key.startswith(prefix)}
    fitting = {name: state[key] for key, name in inside.items() if not scores or name.split(".")[0] in tops}
    moved = _elsewhere(state, own, fitting) if scores else {}
    fitting |= {name: state[key] for name, key in moved.items()}
    used = {*moved.values(), *(key for key, name in inside.items() if name in fitting)}
    return Fitting(fitting, prefix, tuple(key for key in state if key not in used), moved)


def _elsewhere(
    state: Mapping[str, Tensor], own: Mapping[str, torch.Size], found: Mapping[str, Tensor]
) -> dict[str, str]:
    """Return which other name of the file ends with each of the network's that is not ``found``, where one does."""
    ends: dict[str, list[str]] = {}
    for key, value in state.items():
        for name in (key[start:] for start in _starts(key)):
            if name in own and name not in found and len(own[name]) == value.dim():
                ends.setdefault(name, []).append(key)
    return {name: keys[0] for name, keys in ends.items() if len(keys) == 1}


def _starts(key: str) -> list[int]:
    """Return where the dotted parts of a name begin."""
    return [0, *(place + 1 for place, letter in enumerate(key) if letter == ".")]


def _is_average(prefix: str) -> bool:
    return any(word in prefix.lower() for word in _AVERAGES)


def fit_state(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load ``state`` into ``module``.

    Raises:
        ModelError: names or shapes differ, with counts and the first of each kind; or a value is not finite.
    """
    own = module.state_dict()
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    missing = [name for name in own if name not in state and name not in optional]
    surplus = [name for name in state if name not in own]
    shaped = [name for name in own if name in state and own[name].shape != state[name].shape]
    if missing or surplus or shaped:
        sizes = [f"{name}: {_shape(state[name])}, not {_shape(own[name])}" for name in shaped]
        kinds = ((missing, "missing"), (surplus, "unknown"), (sizes, "of another shape"))
        told = [f"{len(names)} {word} ({'; '.join(names[:2])})" for names, word in kinds if names]
        raise ModelError(
            f"{what} do not fit the architecture: {', '.join(told)}. Give the architecture that they were trained with."
        )
    whole = [name for name in own if name in state and own[name].is_floating_point() > state[name].is_floating_point()]
    if whole:
        kind = str(state[whole[0]].dtype).removeprefix("torch.")
        raise ModelError(f"{what} are whole numbers ({whole[0]}: {kind}): save the floats that these stand for.")
    for name, value in state.items():
        wide = value.float() if value.is_floating_point() and value.element_size() == 1 else value
        if not wide.isfinite().all():
            raise ModelError(f"{what} hold values that are not finite (in {name}): take another checkpoint.")
    module.load_state_dict(dict(state), strict=not optional)


def check_extent(plan: nn.Module, state: Mapping[str, Tensor], title: str) -> None:
    """Refuse a configuration whose network is far larger than its weights, before any memory is taken for it.

    Args:
        plan: on the meta device.

    Raises:
        ModelError: it is.
    """
    wanted, given = (sum(value.numel() for value in one.values()) for one in (plan.state_dict(), state))
    if wanted > _SLACK * given + _SMALL:
        raise ModelError(
            f"The config.json of {title} describes {wanted:,} numbers and its weights hold {given:,}: "
            "give those that belong together."
        )


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "a number"


def hub_file(url: str) -> Path:
    """Return where torchvision's weights of ``url`` lie in the usual cache."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def load_hub_state(url: str, name: str, offline: str) -> dict[str, Tensor]:
    """Return torchvision's weights from the cache, fetching them first where they are absent.

    Args:
        name: of the model, for the error.
        offline: the models that need no download, for the error.

    Raises:
        ModelError: the weights are neither cached nor reachable.
    """
    file = hub_file(url)
    if not file.is_file():
        prefix = re.search(r"-([0-9a-f]{8,})\.", file.name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            check_reachable(url)
            torch.hub.download_url_to_file(url, str(file), prefix.group(1) if prefix else None, progress=False)
        except (OSError, RuntimeError) as error:
            logger.info("download of %s failed: %s", url, error)
            raise ModelError(
                f"The weights of {name} could not be fetched from {url}: connect to the internet, or put the file at "
                f"{file}; these work without one: {offline}."
            ) from None
    try:
        state = published_state(file)
    except ModelError as error:
        logger.info("cached weights of %s: %s", name, error)
        sentence = f"The cached weights of {name} are damaged: delete {file}, and they are fetched anew."
        raise ModelError(sentence) from None
    # The oldest DenseNet files number norm and conv of a layer as norm.1; the modules are called norm1.
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", key): value for key, value in state.items()}


def check_reachable(url: str) -> None:
    """Return if the server of ``url`` answers within ten seconds, be it with a refusal.

    The downloads that follow have no such limit, or retry for long.

    Raises:
        OSError: it does not.
    """
    try:
        urlopen(Request(url, method="HEAD"), timeout=10).close()  # noqa: S310 - the addresses are the registry's
    except HTTPError as answer:
        answer.close()


def digest(module: nn.Module) -> str:
    """Return the sha256 of a module's state: names, dtypes, shapes and bytes, in order."""
    found = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        found.update(memoryview(plain.numpy()))
    return found.hexdigest()
