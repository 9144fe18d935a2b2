"""Studies in the database: drafts, publishing, finding them, and what state they are in."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spade_core import __version__
from spade_core.config import ASSETS
from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.tables import Audit, DesignVersion, Details, Participant, Study
from spade_core.study.design.design import Design, parse_design
from spade_core.study.design.schedule import cells
from spade_core.study.stimuli.stimulus_set import StimulusSet, load_set
from spade_core.study.vocabulary import STATES

KEY_SIGNS, KEY_LENGTH = string.ascii_letters + string.digits, 12  # a hyphen in front would be an option of the shell's
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
        ConfigError: see :func:`check_publishable`.
    """
    check_publishable(design, stimuli)
    return _add(store, design, stimuli, "open")


def save_draft(store: Store, design: Design, stimuli: StimulusSet) -> str:
    """Save a study that takes no participants yet and return its key; placeholders may still be in its design.

    Raises:
        ConfigError: the set cannot serve the design.
    """
    design.check_set(stimuli)
    return _add(store, design, stimuli, "draft")


def check_publishable(design: Design, stimuli: StimulusSet) -> None:
    """Check that people may be asked to take part.

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


def find(session: Session, key: str) -> Study:
    """Return a study's row.

    Raises:
        ConfigError: no study has this key.
    """
    row = session.scalar(select(Study).where(Study.key == key)) if key.isascii() and key.isprintable() else None
    if row is None:
        raise ConfigError(f"There is no study “{key[:40]}”: check the link; “study list” shows all keys.")
    return row


def opened(store: Store, key: str) -> Opened:
    """Return a study with its design and stimuli.

    Raises:
        ConfigError: unknown key; or its stimulus set is gone or was changed.
    """
    return store.read(lambda session: opened_in(session, key))


def opened_in(session: Session, key: str) -> Opened:
    """Return the same as part of a transaction, which must be one that only reads: it may have to read pictures.

    Raises:
        ConfigError: see :func:`opened`.
    """
    return opened_row(find(session, key))


def opened_row(row: Study) -> Opened:
    """Return the same of a study's row.

    Raises:
        ConfigError: its stimulus set is gone or was changed.
    """
    return Opened(row, _design(row.design), _stimuli(row.stimuli, row.stimuli_sha256))


def list_studies(store: Store) -> list[Study]:
    """Return all studies, the newest first."""
    return store.read(lambda session: list(session.scalars(select(Study).order_by(Study.created.desc()))))


def set_status(store: Store, key: str, status: str) -> None:
    """Open, pause or close a study; who has begun may finish. Closing is for good.

    Raises:
        ConfigError: unknown key or status, a closed study, or a draft that cannot be published as it is.
    """
    if status not in STATES:
        raise ConfigError(f"A study is not {status}: choose one of {', '.join(STATES)}.")
    before = store.read(lambda session: find(session, key))
    publishing = before.status == "draft" and status == "open"
    if publishing:  # only this needs the stimulus set: a study whose set is gone can still be paused and closed
        study = opened(store, key)
        check_publishable(study.design, study.stimuli)

    def work(session: Session) -> None:
        row = find(session, key)
        if row.status == status:
            return
        if row.status == "closed":
            raise ConfigError("This study is closed for good: copy it to make a new one.")
        if status not in STATES[row.status].next:
            raise ConfigError(
                f"A study that is {row.status} cannot become {status}: choose {' or '.join(STATES[row.status].next)}."
            )
        if (row.status, row.design_sha256) != (before.status, before.design_sha256):
            raise ConfigError("Somebody changed this study meanwhile: look at it and try again.")
        audit(session, store, row.id, "publish" if publishing else status, None)
        row.status = status

    store.run(work)


def keep_version(session: Session, row: Study, design: Design, stimuli: StimulusSet, now: float) -> int:
    """Give a study's row this design and set, kept as its next version; return the version's number."""
    folder = stimuli.folder.resolve()
    shipped = folder.is_relative_to(ASSETS)
    row.name, row.demo, row.code_version = design.name, design.demo, __version__
    row.design, row.design_sha256 = design.to_yaml(), design.sha256
    row.stimuli = _ASSETS_MARK + str(folder.relative_to(ASSETS)) if shipped else str(folder)
    row.stimuli_sha256 = stimuli.sha256
    session.add(row)
    session.flush()
    number = last_version(session, row.id) + 1
    kept = DesignVersion(study_id=row.id, number=number, saved=now)
    kept.design, kept.design_sha256 = row.design, row.design_sha256
    kept.stimuli, kept.stimuli_sha256 = row.stimuli, row.stimuli_sha256
    session.add(kept)
    return number


def last_version(session: Session, study_id: str) -> int:
    """Return the number of a study's last saved version, the one that it has; 0: none is saved yet."""
    return session.scalar(select(func.max(DesignVersion.number)).where(DesignVersion.study_id == study_id)) or 0


def audit(session: Session, store: Store, study_id: str | None, action: str, details: Details | None) -> None:
    """Note what an experimenter did."""
    session.add(Audit(study_id=study_id, at=store.clock(), action=action, details=details))


def _add(store: Store, design: Design, stimuli: StimulusSet, status: str) -> str:
    key = "".join(secrets.choice(KEY_SIGNS) for _ in range(KEY_LENGTH))

    def work(session: Session) -> None:
        row = Study(id=secrets.token_hex(16), key=key, status=status, created=store.clock())
        keep_version(session, row, design, stimuli, store.clock())
        action = "publish" if status == "open" else "save draft"
        audit(session, store, row.id, action, {"key": key, "design": design.sha256})

    store.run(work)
    return key


_design = lru_cache(maxsize=32)(parse_design)


@lru_cache(maxsize=32)
def _stimuli(folder: str, sha256: str) -> StimulusSet:
    path = ASSETS / folder.removeprefix(_ASSETS_MARK) if folder.startswith(_ASSETS_MARK) else Path(folder)
    found = load_set(path, sha256)
    if found.sha256 != sha256:
        raise ConfigError(f"The stimulus set {path} was changed after the study was published: restore it.")
    return found


STILL_OPEN = (
    "This study still takes participants: pause or close it before you look at conditions. If you have to look now, "
    "give your reason (--interim “WHY” of the command, or the field on the page): all of its results are then "
    "exploratory, for good."
)


@dataclass(frozen=True)
class Unblinding:
    """When conditions were first seen.

    Attributes:
        at: UTC seconds; by: who looked, empty where that was not noted.
        interim: the reason that was given for a look before data collection was over, else empty.
    """

    at: float
    by: str = ""
    interim: str = ""


def unblind(store: Store, key: str, *, by: str, interim: str = "") -> None:
    """Show conditions from now on; logged with who did it, and not to be undone. Only the first time counts.

    Args:
        by: who looks; interim: why before data collection is over, which makes all results exploratory for good.

    Raises:
        ConfigError: no such study; or it is a draft, or still takes participants and no reason is given.
    """
    interim = " ".join(interim.split())

    def work(session: Session) -> None:
        row = find(session, key)
        if row.unblinded is not None:
            return
        if row.status == "draft":
            raise ConfigError("This study is a draft, in which nobody has taken part: there is nothing to unblind.")
        if STATES[row.status].people and not interim:
            raise ConfigError(STILL_OPEN)
        row.unblinded = store.clock()
        audit(session, store, row.id, "unblind", {"by": by} | ({"interim": interim} if interim else {}))

    store.run(work)


def unblinding_in(session: Session, row: Study) -> Unblinding | None:
    """Return who first saw the conditions of a study, when and why, as part of a transaction; None: nobody has."""
    if row.unblinded is None:
        return None
    noted = select(Audit.details).where(Audit.study_id == row.id, Audit.action == "unblind").order_by(Audit.id)
    told = session.scalar(noted.limit(1)) or {}
    return Unblinding(row.unblinded, str(told.get("by", "")), str(told.get("interim", "")))


RETURNING_BY_ID = (
    "“returning: id” lets people go on by their participant id alone, which is no secret: whoever knows or guesses one "
    "goes on in its place; “returning: token” asks for the return code."
)


def cautions(design: Design | None, stimuli: StimulusSet | None) -> list[str]:
    """Return one sentence for each thing to think about; the set must serve the design, where both are given."""
    found = [stimuli.warning] if stimuli is not None and stimuli.warning else []
    if design is not None and design.returning == "id":
        found.append(RETURNING_BY_ID)
    if design is None or stimuli is None or design.demo or stimuli.demo:
        return found
    count = len(cells(design, stimuli))
    below = design.quota - design.quota % count
    if below == design.quota:  # cells fill equally only where each has the same number of people
        return found
    fitting = f"{below} or {below + count}" if below else str(count)
    return [
        *found,
        f"The quota of {design.quota} is no multiple of the design's {count} cells, so that not all class neurons are "
        f"met equally often in all conditions: {fitting} would be.",
    ]


def is_blind(store: Store, study: Opened) -> bool:
    """Return whether conditions must stay hidden: real people took part and nobody has unblinded the study."""
    return store.read(lambda session: blind_in(session, study.row))


def blind_in(session: Session, row: Study) -> bool:
    """Return the same as part of a transaction."""
    if row.unblinded is not None:
        return False
    mine = select(Participant.uid).where(Participant.study_id == row.id, Participant.consented.is_not(None))
    real = mine.where(Participant.is_bot.is_(False), Participant.is_preview.is_(False))
    return session.scalar(real.limit(1)) is not None
