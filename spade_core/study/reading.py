"""Which page of the instructions a participant reads; kept by the server, so that a reload goes on at the same one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.tables import PageTime, Participant
from spade_core.study.running.flow import Person

INSTRUCTIONS = "instructions"


def page_of(session: Session, who: Person) -> int:
    """Return the page that a participant reads, from 0."""
    shown = select(PageTime.part).where(
        PageTime.participant_uid == who.row.uid, PageTime.page == INSTRUCTIONS
    ).order_by(PageTime.id.desc()).limit(1)  # fmt: skip
    return min(session.scalar(shown) or 1, len(who.design.texts.instructions)) - 1


def instruction_s(pages: Sequence[PageTime]) -> float | None:
    """Return the seconds from the first page of the instructions to what came after the last one.

    Args:
        pages: of one participant, in their order.
    """
    begun = next((number for number, page in enumerate(pages) if page.page == INSTRUCTIONS), None)
    after = next((page for page in pages[begun or 0 :] if page.page != INSTRUCTIONS), None)
    return None if begun is None or after is None else after.at - pages[begun].at


def turn_page(store: Store, who: Person, page: int) -> int:
    """Note that a participant goes to a page, from 0, forward or back; return the page that they are at afterwards.

    A page that the design does not have, the same page once more, and a turn outside the instructions change nothing.
    """

    def work(session: Session) -> int:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        before = page_of(session, who)
        reading = row is not None and row.status == "active" and row.phase == INSTRUCTIONS
        if row is None or not reading or page == before or not 0 <= page < len(who.design.texts.instructions):
            return before
        session.add(PageTime(participant_uid=row.uid, page=INSTRUCTIONS, part=page + 1, at=store.clock()))
        row.last_seen = store.clock()
        return page

    return store.run(work)
