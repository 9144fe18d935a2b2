"""Who takes part: entering, coming back, and which of several tabs goes on."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError, TakenError
from spade_core.study.data.deletion import BY_ID, is_barred
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, find, opened_row
from spade_core.study.data.tables import Event, ExternalId, Participant, Study, text_sha256
from spade_core.study.design.design import Design, parse_design
from spade_core.study.vocabulary import ACTIVE, PHASES, STATES, TERMINAL

ID_LENGTH = 100
BEFORE = "token_before_sha256"  # in the event of an entry: the token that it took the place of
FIRST_PAGES = ("device", "consent")  # before which nobody has agreed to anything, and nothing can be lost
TAKEN = (
    "This id cannot begin here. If it is yours and you have begun already, go on in the same browser, or with the "
    "return code that the study showed you."
)


@dataclass(frozen=True)
class Participation:
    """What entering gives: whose it is, and the token that finds it again (kept by the browser alone)."""

    uid: str
    token: str
    returned: bool


@dataclass(frozen=True)
class Person:
    """A participant and the study, as of one moment."""

    row: Participant
    study: Opened

    @property
    def design(self) -> Design:
        """Return the study's design."""
        return self.study.design

    @property
    def code(self) -> str | None:
        """Return the completion code that the person's status earns; None: it earns none."""
        return getattr(self.design.codes, self.row.status) or None if self.row.status in TERMINAL else None


def enter(
    store: Store,
    key: str,
    *,
    external_id: str | None = None,
    token: str | None = None,
    signed: bool = False,
    details: Mapping[str, str] | None = None,
    is_bot: bool = False,
    is_preview: bool = False,
    policy: str | None = None,
    seed: str | None = None,
    admit: Callable[[], object] | None = None,
) -> Participation:
    """Begin a participation, or go on with the one that an external id has begun.

    An id is no secret: what somebody has begun with it goes on for the token alone, unless the design lets ids return.
    Until the consent there is nothing to lose, and a token that was cut off on its way must lock nobody out.

    Args:
        external_id: at most 100 printable characters; None: a participation that only its token finds again.
        token: that the browser holds of an earlier visit, or the person's return code, which is the same.
        signed: whether a personal link has shown whose id it is.
        details: further ids of the recruiting service; seed: 32 hexadecimal digits, None: drawn.
        admit: called before somebody new is let in; what it raises keeps them out.

    Raises:
        TakenError: somebody has begun with the id, and nothing shows that it is this person; or it is barred.
        ConfigError: no such study, one that takes nobody new, or an unusable id.
    """
    printable = external_id is None or (external_id.isprintable() and external_id.strip() == external_id)
    if external_id is not None and not (printable and 0 < len(external_id) <= ID_LENGTH):
        raise ConfigError(f"The participant id must have 1 to {ID_LENGTH} letters, digits or signs: check the link.")
    held, fresh, let_in = token, secrets.token_hex(16), cache(admit or dict)  # once, however often it is run

    def work(session: Session) -> Participation:
        study = find(session, key)
        named = (ExternalId.study_id == study.id, ExternalId.external_id == external_id)
        mine = select(Participant).join(ExternalId).where(*named).with_for_update()
        known = None if external_id is None else session.scalar(mine)
        if known is not None:
            return _back(store, session, known, held, fresh, signed=signed)
        if external_id is not None and is_barred(session, study.id, external_id):
            raise TakenError(TAKEN)
        state = STATES[study.status]
        if not (state.trials if is_bot or is_preview else state.people):
            raise ConfigError("This study takes no new participants at the moment. Thank you for your interest.")
        let_in()
        uid, now = secrets.token_hex(16), store.clock()
        row = Participant(uid=uid, study_id=study.id, is_bot=is_bot, is_preview=is_preview, policy=policy)
        row.phase, row.status, row.started, row.last_seen = next(iter(PHASES)), ACTIVE, now, now
        row.seed, row.resume_sha256 = seed or secrets.token_hex(16), text_sha256(fresh)
        session.add(row)
        session.flush()
        if external_id is not None:
            kept = dict(details or {})
            session.add(ExternalId(participant_uid=uid, study_id=study.id, external_id=external_id, details=kept))
        return Participation(uid, fresh, returned=False)

    return store.run(work)


def _back(
    store: Store, session: Session, row: Participant, held: str | None, fresh: str, *, signed: bool
) -> Participation:
    """Let somebody go on by the token that they hold, or give a fresh one where the id is enough."""
    row.last_seen = store.clock()
    if held is not None and hmac.compare_digest(row.resume_sha256, text_sha256(held)):
        return Participation(row.uid, held, returned=True)
    early = row.status == ACTIVE and row.phase in FIRST_PAGES
    by_id = row.status == ACTIVE and parse_design(session.get_one(Study, row.study_id).design).returning == "id"
    if not (signed or early or by_id):
        raise TakenError(TAKEN)
    kind = "entered again" if signed or early else BY_ID
    session.add(Event(participant_uid=row.uid, at=store.clock(), kind=kind, details={BEFORE: row.resume_sha256}))
    row.resume_sha256 = text_sha256(fresh)
    return Participation(row.uid, fresh, returned=True)


def return_code(text: str) -> str:
    """Return a token as it was typed: spaces, hyphens and capitals do not matter."""
    return re.sub(r"[\s-]", "", text).lower()


def person(store: Store, key: str, token: str) -> Person | None:
    """Return the participant of a token, or None where it finds nobody: a newer tab has taken over."""
    return store.read(lambda session: person_in(session, key, token))


def person_in(session: Session, key: str, token: str, *, lock: bool = False) -> Person | None:
    """Return the same as part of a transaction, which must be one that only reads, or find the study opened before.

    Args:
        lock: the participant's row, for a transaction that changes it.

    Raises:
        ConfigError: no such study.
    """
    if not (key.isascii() and key.isprintable()):  # no text for a database
        find(session, key)
    asked = {"key": key, "token": text_sha256(token)}
    found = session.execute(_MINE_LOCKED if lock else _MINE, asked).one_or_none()
    if found is None:
        find(session, key)
        return None
    row, study = found
    return Person(row, opened_row(study))


_MINE = (
    select(Participant, Study)
    .join(Study)
    .where(Study.key == bindparam("key"), Participant.resume_sha256 == bindparam("token"))
)
_MINE_LOCKED = _MINE.with_for_update(of=Participant)


def moved_on(store: Store, key: str, token: str) -> bool:
    """Return whether a token that finds nobody was replaced by another one, in another browser or by another entry.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> bool:
        mine = select(Event.id).join(Participant).where(Participant.study_id == find(session, key).id)
        replaced = mine.where(Event.details[BEFORE].as_string() == text_sha256(token))
        return session.scalar(replaced.limit(1)) is not None

    return store.read(work)


def owns(who: Person, tab: str) -> bool:
    """Return whether no newer tab has taken the participation over."""
    return (who.row.device or {}).get("tab") == tab
