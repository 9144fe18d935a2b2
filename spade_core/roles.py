"""What a server is for (``SPADE_MODE``), and what may be done on it: asked where it is done, not in the menu.

======== ==================================================================================================
mode     open on it
======== ==================================================================================================
local    everything; the studies behind their own door (``study.admission.access``)
lab      everything, but for a participant's way behind the same login
study    a participant's way alone: run the experimenter's page on another server with the same database
demo     looking and computing, on bundled pictures and models alone, each job short and few at a time
======== ==================================================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from spade_core.config import Mode, Settings
from spade_core.errors import ConfigError

Action = Literal["look", "compute", "bring", "manage", "take part"]
"""See the pages of the inspector; start jobs; upload files and read folders; run studies; be in one."""

_ALL: frozenset[Action] = frozenset(get_args(Action))
_OPEN: dict[Mode, frozenset[Action]] = {
    "local": _ALL,
    "lab": _ALL,
    "study": frozenset({"take part"}),
    "demo": frozenset({"look", "compute"}),
}
NOT_HERE = "This page is not here: ask whoever gave you its address for the right one."
DEMO_SECONDS, DEMO_SESSION_JOBS, DEMO_QUEUE = 120, 2, 8
DEMO_PICTURES = 6  # that one job may go through


def allows(mode: Mode, action: Action) -> bool:
    """Return whether something may be done on a server of a mode, by whoever may do it there."""
    return action in _OPEN[mode]


def require(settings: Settings, action: Action) -> None:
    """Look whether something may be done here.

    Raises:
        ConfigError: it may not.
    """
    if not allows(settings.mode, action):
        raise ConfigError(NOT_HERE)


def behind_login(mode: Mode, action: Action) -> bool:
    """Return whether only who is logged in may do it."""
    return mode == "lab" and action != "take part"


def capped(settings: Settings) -> Settings:
    """Return the settings that hold in their mode: a demo's jobs are short and few, and it reads no folders."""
    if settings.mode != "demo":
        return settings
    return replace(
        settings,
        job_seconds=min(settings.job_seconds, DEMO_SECONDS),
        session_jobs=min(settings.session_jobs, DEMO_SESSION_JOBS),
        queue_length=min(settings.queue_length, DEMO_QUEUE),
        allow_weights_upload=False,
        references=(),
    )
