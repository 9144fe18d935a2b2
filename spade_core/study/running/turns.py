"""A turn at the trials as one transaction: an answer in, or word that feedback was read; the next trial out.

It does what the page's steps do one after the other (``answers`` stores, ``standing`` looks, ``answers`` notes what is
given), and leaves to the page whatever is no trial: breaks, what comes between practice and study, and the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.studies import opened
from spade_core.study.data.tables import Trial
from spade_core.study.running.answers import Receipt, give_in, remaining_ms, submit_in
from spade_core.study.running.person import owns, person_in
from spade_core.study.running.phases import is_over, plan_of
from spade_core.study.running.standing import Standing, read_feedback_in, standing_in
from spade_core.study.vocabulary import ACTIVE


@dataclass(frozen=True)
class Turn:
    """What became of a message, and what comes next.

    Attributes:
        receipt: of the answer; None: the message held none.
        at: where the participant stands afterwards.
        trial: to be shown now, ``at.trial`` or, with its feedback, ``at.said``; None: the page has something else.
        limit_ms: what is left of its time; None: it has no limit.
    """

    receipt: Receipt | None
    at: Standing
    trial: Trial | None
    limit_ms: int | None


def take_turn(
    store: Store,
    key: str,
    token: str,
    tab: str,
    *,
    answer: Mapping[str, object] | None = None,
    read: str | None = None,
) -> Turn | None:
    """Take a message of a participant and return what comes next; None: the token finds nobody.

    Taken twice it changes nothing the second time. An answer counts whichever tab it comes from, but only the newest
    tab is shown the next trial.

    Args:
        answer: see :func:`answers.submit`; read: the id of a practice trial whose feedback was read.

    Raises:
        ConfigError: no such study, or its stimulus set is gone or was changed.
    """
    _read_ahead(store, key)

    def work(session: Session) -> Turn | None:
        who = person_in(session, key, token, lock=True)
        if who is None:
            return None
        plan, rounds = plan_of(session, who.row), who.row.practice_round
        receipt = None if answer is None else submit_in(store, session, who.row, who.study, plan, answer)
        if who.row.practice_round != rounds:
            plan = plan_of(session, who.row)  # practice may be repeated
        if read is not None:
            read_feedback_in(session, plan, read, store.clock())
        at, now = standing_in(session, who, plan), store.clock()
        trial = at.said or at.trial if _goes_on(at, tab, now) else None
        if trial is None:
            return Turn(receipt, at, None, None)
        give_in(session, trial, now)
        return Turn(receipt, at, trial, remaining_ms(who.design, trial, now))

    return store.run(work, locks=True)


@lru_cache(maxsize=64)
def _read_ahead(store: Store, key: str) -> None:
    """Read a study's pictures once, ahead of the transactions that write: nobody can write meanwhile."""
    opened(store, key)


def _goes_on(at: Standing, tab: str, now: float) -> bool:
    """Return whether a trial comes next in this tab, rather than something that the page has to draw."""
    row = at.who.row
    over = row.status != ACTIVE or is_over(at.who.design, row, now)
    return not (over or row.native or at.pauses) and owns(at.who, tab)
