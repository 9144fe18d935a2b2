"""Studies in the database: publish, find, pause, close."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core import __version__
from spade_core.config import ASSETS
from spade_core.errors import ConfigError
from spade_core.study.design import Design, parse_design
from spade_core.study.stimulus_set import StimulusSet, load_set
from spade_core.study.store import Store
from spade_core.study.tables import Audit, Study

__all__ = ["STATUSES", "Opened", "audit", "find", "list_studies", "opened", "publish", "set_status"]

STATUSES = ("open", "paused", "closed")
_ASSETS_MARK = "assets:"  # in place of the program's own folder, which moves with an update


@dataclass(frozen=True)
class Opened:
    """A study's row with its design and stimuli."""

    row: Study
    design: Design
    stimuli: StimulusSet


def publish(store: Store, design: Design, stimuli: StimulusSet) -> str:
    """Open a study and return its key, the random part of its link.

    Raises:
        ConfigError: the set cannot serve the design, or the consent's facts are still placeholders (a demo may keep
        them).
    """
    design.check_set(stimuli)
    left = [] if design.demo else design.placeholders()
    if left:
        raise ConfigError(f"The design's “{left[0]}” is still a placeholder: participants must be told; fill it in.")
    if stimuli.demo and not design.demo:
        raise ConfigError(
            "The demo set measures nothing: set “demo: true” in the design, or build a set with “study build --images”."
        )
    key = secrets.token_urlsafe(9)

    def work(session: Session) -> None:
        session.add(
            Study(
                id=secrets.token_hex(16), key=key, name=design.name, status="open", design=design.to_yaml(),
                design_sha256=design.sha256, stimuli=_portable(stimuli.folder), stimuli_sha256=stimuli.sha256,
                demo=design.demo, code_version=__version__, created=store.clock(),
            )
        )  # fmt: skip
        audit(session, store, None, "publish", {"key": key, "design": design.sha256})

    store.run(work)
    return key


def find(session: Session, key: str) -> Study:
    """Return a study's row.

    Raises:
        ConfigError: no study has this key.
    """
    row = session.scalar(select(Study).where(Study.key == key))
    if row is None:
        raise ConfigError(f"There is no study “{key[:40]}”: check the link; “study list” shows all keys.")
    return row


def opened(store: Store, key: str) -> Opened:
    """Return a study with its design and stimuli.

    Raises:
        ConfigError: unknown key; or its stimulus set is gone or was changed.
    """
    row = store.run(lambda session: find(session, key))
    return Opened(row, _design(row.design), _stimuli(row.stimuli, row.stimuli_sha256))


def list_studies(store: Store) -> list[Study]:
    """Return all studies, the newest first."""
    return store.run(lambda session: list(session.scalars(select(Study).order_by(Study.created.desc()))))


def set_status(store: Store, key: str, status: str) -> None:
    """Open, pause or close a study; who has begun may finish.

    Raises:
        ConfigError: unknown key or status.
    """
    if status not in STATUSES:
        raise ConfigError(f"A study is {', '.join(STATUSES)}, not {status}.")

    def work(session: Session) -> None:
        row = find(session, key)
        row.status = status
        audit(session, store, row.id, status, None)

    store.run(work)


def audit(session: Session, store: Store, study_id: str | None, action: str, details: dict[str, Any] | None) -> None:
    """Note what an experimenter did."""
    session.add(Audit(study_id=study_id, at=store.clock(), action=action, details=details))


@lru_cache(maxsize=32)
def _design(text: str) -> Design:
    return parse_design(text)


@lru_cache(maxsize=32)
def _stimuli(folder: str, sha256: str) -> StimulusSet:
    path = ASSETS / folder.removeprefix(_ASSETS_MARK) if folder.startswith(_ASSETS_MARK) else Path(folder)
    found = load_set(path)
    if found.sha256 != sha256:
        raise ConfigError(f"The stimulus set {path} was changed after the study was published: restore it.")
    return found


def _portable(folder: Path) -> str:
    folder = folder.resolve()
    return _ASSETS_MARK + str(folder.relative_to(ASSETS)) if folder.is_relative_to(ASSETS) else str(folder)
