"""The tables of the study database.

External ids lie apart from participants, so that answers can be shared without them. No IP addresses anywhere. Times
are UTC seconds since 1970. A change here needs a revision in ``migrations/versions`` (a test compares the two).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import JSON, Boolean, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, validates

Details: TypeAlias = dict[str, Any]  # JSON whose keys depend on the row


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {Details: JSON}  # noqa: RUF012 - SQLAlchemy's own protocol


def _cascade(target: str) -> Mapped[str]:
    return mapped_column(ForeignKey(target, ondelete="CASCADE"), index=True)


class Study(Base):
    """A design, published or still a draft, with its stimulus set; earlier ones are in ``design_versions``."""

    __tablename__ = "studies"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(12))  # draft, open, paused, closed
    design: Mapped[str] = mapped_column(Text)  # YAML
    design_sha256: Mapped[str] = mapped_column(String(64))
    stimuli: Mapped[str] = mapped_column(Text)  # folder
    stimuli_sha256: Mapped[str] = mapped_column(String(64))
    demo: Mapped[bool] = mapped_column(Boolean)
    code_version: Mapped[str] = mapped_column(String(40))
    created: Mapped[float] = mapped_column(Float)
    frozen: Mapped[float | None] = mapped_column(Float)  # the first real participant's start
    unblinded: Mapped[float | None] = mapped_column(Float)


class DesignVersion(Base):
    """A design of a study as it was saved at some time; the newest one is the study's own."""

    __tablename__ = "design_versions"
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # from 1
    design: Mapped[str] = mapped_column(Text)  # YAML
    design_sha256: Mapped[str] = mapped_column(String(64))
    stimuli: Mapped[str] = mapped_column(Text)
    stimuli_sha256: Mapped[str] = mapped_column(String(64))
    saved: Mapped[float] = mapped_column(Float)


class Participant(Base):
    """One participation; the uid is random and says nothing."""

    __tablename__ = "participants"
    uid: Mapped[str] = mapped_column(String(32), primary_key=True)
    study_id: Mapped[str] = _cascade("studies.id")
    is_bot: Mapped[bool] = mapped_column(Boolean)
    is_preview: Mapped[bool] = mapped_column(Boolean)
    policy: Mapped[str | None] = mapped_column(String(40))
    phase: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))  # active, or one of vocabulary.TERMINAL
    cell: Mapped[int | None] = mapped_column(Integer)
    seed: Mapped[str] = mapped_column(String(32))  # 128 bits, hexadecimal
    resume_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    withdrawal_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    started: Mapped[float] = mapped_column(Float)
    consented: Mapped[float | None] = mapped_column(Float)
    consent_sha256: Mapped[str | None] = mapped_column(String(64))  # of all that the consent page showed
    consent_version: Mapped[int | None] = mapped_column(Integer)  # that the design gave itself
    consent_design_version: Mapped[int | None] = mapped_column(Integer)  # number of the saved version
    last_seen: Mapped[float] = mapped_column(Float)
    finished: Mapped[float | None] = mapped_column(Float)
    comprehension_tries: Mapped[int] = mapped_column(Integer, default=0)
    practice_round: Mapped[int] = mapped_column(Integer, default=0)
    practice_flagged: Mapped[bool] = mapped_column(Boolean, default=False)
    native: Mapped[bool] = mapped_column(Boolean, default=False)  # plain widgets, chosen before the first trial
    excluded: Mapped[str | None] = mapped_column(String(200))  # by the experimenter; nothing to do with payment
    comment: Mapped[str | None] = mapped_column(Text)
    device: Mapped[Details | None] = mapped_column(JSON)
    __table_args__ = (Index("participants_cells", "study_id", "is_bot", "is_preview", "cell"),)

    @property
    def total_s(self) -> float | None:
        """Return the seconds from entry to the end, None before it."""
        return None if self.finished is None else self.finished - self.started


class ExternalId(Base):
    """Who a participant is to the outside, apart from the answers."""

    __tablename__ = "external_ids"
    participant_uid: Mapped[str] = mapped_column(ForeignKey("participants.uid", ondelete="CASCADE"), primary_key=True)
    study_id: Mapped[str] = _cascade("studies.id")
    external_id: Mapped[str] = mapped_column(String(120))
    details: Mapped[Details | None] = mapped_column(JSON)  # STUDY_ID, SESSION_ID
    __table_args__ = (UniqueConstraint("study_id", "external_id"),)


class Trial(Base):
    """A planned trial and, once given, its answer."""

    __tablename__ = "trials"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    participant_uid: Mapped[str] = _cascade("participants.uid")
    index: Mapped[int] = mapped_column(Integer)
    block: Mapped[int] = mapped_column(Integer)
    type: Mapped[str] = mapped_column(String(12))
    stimulus_id: Mapped[str] = mapped_column(String(32))
    condition: Mapped[str] = mapped_column(String(12))
    reference_side: Mapped[str] = mapped_column(String(12))
    required: Mapped[str | None] = mapped_column(String(12))
    repeat_of: Mapped[str | None] = mapped_column(String(32))
    answered: Mapped[float | None] = mapped_column(Float)
    choice: Mapped[str | None] = mapped_column(String(12))
    confidence: Mapped[int | None] = mapped_column(Integer)
    rt_ms: Mapped[float | None] = mapped_column(Float)
    rt_source: Mapped[str | None] = mapped_column(String(8))
    timed_out: Mapped[bool | None] = mapped_column(Boolean)
    details: Mapped[Details | None] = mapped_column(JSON)  # focus losses, resizes, early answers, window
    n_focus_losses: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    extra: Mapped[Details | None] = mapped_column(JSON(none_as_null=True))  # replies by question
    __table_args__ = (UniqueConstraint("participant_uid", "index"),)

    @validates("details")
    def _count_focus_losses(self, _name: str, details: Details | None) -> Details | None:
        """Keep the count in step with the details, whoever writes them."""
        self.n_focus_losses = focus_losses(details)
        return details


class Event(Base):
    """What happened outside answers: refusals, take-overs, pauses."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    participant_uid: Mapped[str] = _cascade("participants.uid")
    at: Mapped[float] = mapped_column(Float)
    kind: Mapped[str] = mapped_column(String(40))
    details: Mapped[Details | None] = mapped_column(JSON)


class PageTime(Base):
    """When a participant reached a page; within the instructions, every turn of a page, forward or back."""

    __tablename__ = "page_times"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    participant_uid: Mapped[str] = _cascade("participants.uid")
    page: Mapped[str] = mapped_column(String(40))
    part: Mapped[int | None] = mapped_column(Integer)  # page of the instructions, from 1
    at: Mapped[float] = mapped_column(Float)


class Audit(Base):
    """What experimenters did; it outlives participants and names none of them."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    study_id: Mapped[str | None] = mapped_column(String(32))
    at: Mapped[float] = mapped_column(Float)
    action: Mapped[str] = mapped_column(String(40))
    details: Mapped[Details | None] = mapped_column(JSON)


class TextReview(Base):
    """Somebody has read a free text and decided whether it may be shared; the decision is about these very words."""

    __tablename__ = "text_reviews"
    text_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    participant_uid: Mapped[str] = _cascade("participants.uid")
    decision: Mapped[str] = mapped_column(String(8))  # shared, withheld
    words_sha256: Mapped[str] = mapped_column(String(64))
    by: Mapped[str] = mapped_column(String(120))
    at: Mapped[float] = mapped_column(Float)


class Tombstone(Base):
    """Somebody was deleted: enough to delete them again from a restored backup, and nothing more."""

    __tablename__ = "tombstones"
    uid_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)  # of the random uid
    study_id: Mapped[str] = mapped_column(String(32), index=True)
    at: Mapped[float] = mapped_column(Float)


class BarredId(Base):
    """An id that may not begin a study again: its owner failed a check and has withdrawn. A keyed hash, no name."""

    __tablename__ = "barred_ids"
    id_hmac: Mapped[str] = mapped_column(String(64), primary_key=True)  # see links.Signer.fingerprint
    study_id: Mapped[str] = mapped_column(String(32), index=True)
    at: Mapped[float] = mapped_column(Float)


def focus_losses(details: Details | None) -> int:
    """Return how often the window lost the focus, by a trial's details."""
    return len((details or {}).get("focus_losses") or ())


def text_sha256(text: str) -> str:
    """Return what columns named ``…_sha256`` hold of a text, 64 hexadecimal digits."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()  # addresses may hold what is no text


Owned = TypeVar("Owned", Trial, Event, PageTime)


def by_person(rows: Iterable[Owned]) -> dict[str, list[Owned]]:
    """Return rows by their participant's uid, each in the order given."""
    found: dict[str, list[Owned]] = {}
    for row in rows:
        found.setdefault(row.participant_uid, []).append(row)
    return found
