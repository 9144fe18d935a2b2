"""What a manifest must hold to be computed again; whatever else a file says, it is refused at the door.

Only what a replay reads before its own checks is described here: options of traces, methods and drawings are checked
where they are declared.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spade_core.errors import ConfigError
from spade_core.models.loaded import Pixels, RecordedModel

_MOST = 2**63 - 1  # of a seed of torch's


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Environment(_Part):
    threads: int = Field(ge=1, le=4096)
    device_type: str


class _Trigger(_Part):
    model_config = ConfigDict(strict=True, extra="forbid")
    trigger: str
    size: Pixels | None = None
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
    model: RecordedModel
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
