"""Changing a study's design: every saved version is kept, and nothing changes once somebody has begun.

Until the first real participant begins, an edit makes the next version. What bots and previews left behind belongs to
the version before and goes with it. Afterwards the design is frozen, and a change means a new study, made by copying.
"""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import audit, check_publishable, find, keep_version, last_version, opened, save_draft
from spade_core.study.data.tables import DesignVersion, Participant
from spade_core.study.design.design import Design, parse_design
from spade_core.study.stimuli.stimulus_set import StimulusSet

FROZEN = "This study is frozen, since its first participant has begun: copy it to a new study and change that one."
CLOSED = "This study is closed for good: copy it to a new study and change that one."


def edit(store: Store, key: str, design: Design, stimuli: StimulusSet | None = None) -> int:
    """Save a design, and with it a set, as the next version of a study; return the version's number.

    What is saved already makes no new version.

    Args:
        stimuli: None: the set that the study has.

    Raises:
        ConfigError: the study is frozen or closed; or the set cannot serve the design; or the study is published and
            the design has placeholders.
    """
    before = opened(store, key)
    stimuli = before.stimuli if stimuli is None else stimuli
    (design.check_set if before.row.status == "draft" else lambda given: check_publishable(design, given))(stimuli)

    def work(session: Session) -> int:
        row = find(session, key)
        if row.frozen is not None:
            raise ConfigError(FROZEN)
        if row.status == "closed":
            raise ConfigError(CLOSED)
        if (row.design_sha256, row.stimuli_sha256) == (design.sha256, stimuli.sha256):
            return last_version(session, row.id)
        if row.status != before.row.status:
            raise ConfigError("Somebody published or paused this study meanwhile: look at it and try again.")
        gone = session.execute(
            delete(Participant).where(Participant.study_id == row.id, Participant.is_bot | Participant.is_preview)
        )
        number = keep_version(session, row, design, stimuli, store.clock())
        details = {"version": number, "design": design.sha256, "simulated_deleted": gone.rowcount}  # type: ignore[attr-defined]
        audit(session, store, row.id, "edit", details)
        return number

    return store.run(work)


def copy(store: Store, key: str, design: Design | None = None, stimuli: StimulusSet | None = None) -> str:
    """Make a new draft of a study, frozen or not, and return its key; participants stay with the old one.

    Args:
        design, stimuli: in place of those of the study, or None.

    Raises:
        ConfigError: no such study, or the set cannot serve the design.
    """
    before = opened(store, key)
    return save_draft(store, design or before.design, stimuli or before.stimuli)


def versions(store: Store, key: str) -> list[DesignVersion]:
    """Return all saved versions of a study's design, the oldest first.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> list[DesignVersion]:
        query = select(DesignVersion).where(DesignVersion.study_id == find(session, key).id)
        return list(session.scalars(query.order_by(DesignVersion.number)))

    return store.read(work)


def design_of(store: Store, key: str, number: int | None = None) -> Design:
    """Return one version of a study's design, the newest by default.

    Raises:
        ConfigError: no such study or version.
    """
    found = {version.number: version for version in versions(store, key)}
    chosen = max(found) if number is None else number
    if chosen not in found:
        raise ConfigError(f"This study has no version {chosen}: choose one from 1 to {max(found)}.")
    return parse_design(found[chosen].design)
