"""Free texts and their review: none leaves in a shareable export before somebody has read it and decided so.

A decision is about the very words that were read: if they change, it is void. While a study is blind, what people wrote
about a trial is not shown, since it may tell what they saw; closing comments are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, audit, blind_in, find, opened, opened_in
from spade_core.study.data.tables import Participant, TextReview, Trial, text_sha256

COMMENT = "comment"
DECISIONS = ("shared", "withheld")


@dataclass(frozen=True)
class FreeText:
    """A text that a participant wrote.

    Attributes:
        id: says nothing of whose it is; owner: the trial's id, or for a comment the participant's uid.
        name: of the question, or ``comment``; words: the text; simulated: a bot's or a preview's.
        decision: ``shared`` or ``withheld``, None: nobody has read these words yet; by, at: whose, when (UTC seconds).
    """

    id: str
    owner: str
    participant_uid: str
    name: str
    words: str
    simulated: bool
    decision: str | None = None
    by: str | None = None
    at: float | None = None


def free_texts(store: Store, key: str) -> list[FreeText]:
    """Return a study's texts with their reviews, those without first, else in the order of their ids.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> list[FreeText]:
        study = opened_in(session, key)
        found = _collected(session, study, blind=blind_in(session, study.row))
        return sorted(found, key=lambda text: (text.decision is not None, text.id))

    return store.read(work)


def review(store: Store, key: str, ids: Sequence[str], decision: str, *, by: str) -> None:
    """Share or withhold texts; a later decision takes the place of an earlier one.

    The audit notes that it was done and to how many, but not whose texts they were.

    Args:
        ids: of :func:`free_texts`; decision: one of ``DECISIONS``; by: who decides.

    Raises:
        ConfigError: no such study or decision, or an id that this study does not show.
    """
    if decision not in DECISIONS:
        raise ConfigError(f"A text is not {decision}: choose {' or '.join(DECISIONS)}.")
    study = opened(store, key)

    def work(session: Session) -> None:
        blind = blind_in(session, find(session, key))
        texts = {text.id: text for text in _collected(session, study, blind=blind)}
        unknown = next((one for one in ids if one not in texts), None)
        if unknown is not None:
            raise ConfigError(f"This study shows no text {unknown[:40]}: “study texts KEY” lists them.")
        for text in (texts[one] for one in dict.fromkeys(ids)):
            row = TextReview(
                text_id=text.id, participant_uid=text.participant_uid, words_sha256=text_sha256(text.words)
            )
            row.decision, row.by, row.at = decision, by[:120], store.clock()
            session.merge(row)
        if ids:
            audit(session, store, study.row.id, f"texts {decision}", {"texts": len(set(ids)), "by": by, "blind": blind})

    store.run(work)


def shared(session: Session, study: Opened) -> set[tuple[str, str]]:
    """Return owner and name of each text that may be shared as it stands now, as part of a transaction."""
    return {(text.owner, text.name) for text in _collected(session, study, blind=False) if text.decision == "shared"}


def _collected(session: Session, study: Opened, *, blind: bool) -> list[FreeText]:
    """Return all texts with the decisions about their present words."""
    mine = Participant.study_id == study.row.id
    reviews = {row.text_id: row for row in session.scalars(select(TextReview).join(Participant).where(mine))}
    people = session.scalars(select(Participant).where(mine, Participant.comment.is_not(None)))
    texts = [_text(person.uid, person, COMMENT, person.comment or "", reviews) for person in people]
    names = [] if blind else [question.name for question in study.design.questions.texts]
    answered = select(Participant, Trial).join(Trial, Trial.participant_uid == Participant.uid)
    query = answered.where(mine, Trial.extra.is_not(None))
    for person, trial in session.execute(query) if names else ():
        said = {name: (trial.extra or {}).get(name) for name in names}
        texts += [_text(trial.id, person, name, words, reviews) for name, words in said.items() if words]
    return texts


def _text(owner: str, person: Participant, name: str, words: str, reviews: Mapping[str, TextReview]) -> FreeText:
    text_id = text_sha256(f"{owner}/{name}")[:16]
    text = FreeText(text_id, owner, person.uid, name, words, person.is_bot or person.is_preview)
    found = reviews.get(text_id)
    if found is None or found.words_sha256 != text_sha256(words):
        return text
    return replace(text, decision=found.decision, by=found.by, at=found.at)
