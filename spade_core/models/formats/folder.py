"""A model as timm and transformers publish it: ``config.json`` beside its weights, in a folder or on the hub.

Both libraries would build it themselves, and read on the way whatever its files name: code, adapters, other
repositories. So the files are read here, as JSON and as plain tensors, and the libraries only build the network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn

from spade_core.errors import ModelError
from spade_core.models import timm
from spade_core.models.formats import transformers
from spade_core.models.formats.hub import Repository
from spade_core.models.preprocessing import Preprocessing
from spade_core.models.registry import HUB
from spade_core.models.weights import published_state

MODELS_EXTRA = "pip install -r requirements-models.txt, or spade-studio[models]"
_MOST_JSON = 2**24  # bytes; the names of 21,000 classes take one million
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")

Find = Callable[..., Path | None]
"""Returns the first of the named files that there is."""


@dataclass(frozen=True)
class Published:
    """A network as it was published.

    Attributes:
        preprocessing: that of its own processor; labels: those of its configuration, if it names any.
        family: of architectures that share stages and feature layouts.
        notes: sentences about what was left over or assumed.
    """

    module: nn.Module
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None
    family: str
    notes: tuple[str, ...] = ()


def read_folder(folder: Path) -> Published:
    """Read a model's folder.

    Raises:
        ModelError: a file is absent or unreadable, a library is not installed, or they do not fit each other.
    """

    def find(*names: str) -> Path | None:
        return next((folder / name for name in names if (folder / name).is_file()), None)

    return _published(find, folder.resolve().name)


def read_hub(text: str, advice: str) -> Published:
    """Read ``owner/name`` of the hub, from its cache or the internet.

    Raises:
        ModelError: as :func:`read_folder`, or the hub cannot be reached.
    """
    repository = Repository.parse(text, f"{HUB}{text}", advice)
    return _published(repository.file, repository.title)


def _published(find: Find, title: str) -> Published:
    path = find("config.json")
    if path is None:
        raise ModelError(f"{title} has no config.json: give a folder that timm or transformers saved.")
    config = read_json(path)
    if "architecture" in config:  # timm's own, and transformers' wrapper of timm
        return _timm(config, find, title)
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"The config.json of {title} names no architecture: give one of timm or transformers.")
    if find_spec("transformers") is None:
        raise ModelError(f"{title} needs the library transformers, install it with: {MODELS_EXTRA}.")
    return _transformers(config, find, title)


def _timm(config: Mapping[str, object], find: Find, title: str) -> Published:
    state = {name.removeprefix("timm_model."): value for name, value in _state(find, title).items()}
    module = timm.from_config(config, state, title)
    try:
        preprocessing, labels = timm.preprocessing_of(module), timm.labels_of(config)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        raise ModelError(f"The config.json of {title} does not say how it reads pictures: save it anew.") from None
    return Published(module, preprocessing, labels, "timm")


def _transformers(config: Mapping[str, object], find: Find, title: str) -> Published:
    module, notes = transformers.build(config, _state(find, title), title)
    path = find(*_PROCESSORS)
    found = read_json(path) if path else {}
    inner = found.get("image_processor", found)
    told = dict(inner) if isinstance(inner, Mapping) else {}
    if path is None:
        notes += (f"It comes without {_PROCESSORS[0]}: pictures are prepared as its architecture's usually are.",)
    preprocessing = transformers.preprocessing_of(config, told, title)
    return Published(module, preprocessing, transformers.labels_of(config), "transformers", notes)


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON object from a file that nobody vouches for.

    Raises:
        ModelError: it is too large, or none.
    """
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError(path)
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{path.name} is no readable JSON object: save or copy it again.")
    return found


def _state(find: Find, title: str) -> dict[str, Tensor]:
    path = find(*_WEIGHTS)
    if path is None:
        raise ModelError(f"{title} has no weights: save them there as {_WEIGHTS[0]}.")
    if path.suffix != ".json":
        return published_state(path)
    table = read_json(path).get("weight_map")
    names = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
    state: dict[str, Tensor] = {}
    for name in names:
        part = find(name) if Path(name).name == name and name.endswith(".safetensors") else None
        if part is None:
            raise ModelError(f"{title} lacks the part {name[:60]!r} of its weights: copy it again.")
        state |= published_state(part)
    return state
