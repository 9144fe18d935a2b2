"""What a manifest must hold to be computed again; whatever else a file says, it is refused at the door.

Only what a replay reads before its own checks is described here: options of traces, methods and drawings are checked
where they are declared.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spade_core.errors import ConfigError

_MOST = 2**63 - 1  # of a seed of torch's
_Pixels = Annotated[int, Field(ge=1, le=2**16)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Environment(_Part):
    threads: int = Field(ge=1, le=4096)
    device_type: str


class _Spec(_Part):
    """As ``models.loaded.Spec``."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str | None = None
    memory: bool | None = None
    weights: str | None = None
    arch: str | None = None
    classes: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: _Pixels | tuple[_Pixels, _Pixels] | None = None
    output: str | None = None


class _Model(_Part):
    name: str
    sha256: str
    spec: _Spec


class _Trigger(_Part):
    model_config = ConfigDict(strict=True, extra="forbid")
    trigger: str
    size: _Pixels | None = None
    position: tuple[int, int] | None = None
    seed: int = Field(0, ge=0, le=_MOST)


class _Picture(_Part):
    source: str
    sha256: str
    frame: str | None = None
    trigger: _Trigger | None = None


class _Config(_Part):
    trace: dict[str, Any]
    methods: list[str] | None = None
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seed: int = Field(0, ge=0, le=_MOST)


class _Record(_Part):
    environment: _Environment
    model: _Model
    picture: _Picture
    config: _Config
    trace: dict[str, Any]


def check_record(text: str, what: object) -> None:
    """Look whether a text is a manifest that can be computed again.

    Args:
        text: JSON; what: the file's name, for the message.

    Raises:
        ConfigError: it is not; the first place that is wrong is named.
    """
    try:
        _Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ConfigError(
            f"{what} is not a manifest that SPADE Studio wrote ({place} is missing or wrong: {first['msg']}): "
            "give it as it was written."
        ) from error
