"""A job on a page: asked for, followed, cancelled, and what it found.

The progress bar polls in a fragment of its own; the page as a whole is drawn again only when there is something new to
show, so that drawing does not take the cores that the job needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import streamlit as st

from spade_core.jobs.job import Status, Ticket
from spade_core.ui.common.frame import errors_as_sentences, jobs
from spade_core.ui.common.text import literal

POLL = 0.4  # seconds between two looks at a running job
SHORT = 0.3  # seconds in which most of what is kept or quick arrives, without a progress bar flashing up
WAIT_STEP = 0.1
CHANGE_AND_START = "Cancelled. Change what you like and start again."

Files = Mapping[str, bytes]
Draw = Callable[[Files], object]


def remember(page: str, ticket: Ticket, asked: object) -> None:
    """Keep the ticket of a page and what was asked for; an earlier job of the page is given up."""
    previous = st.session_state.get(f"{page}_ticket")
    if previous is not None and previous.key != ticket.key:
        previous.cancel()
    st.session_state[f"{page}_ticket"], st.session_state[f"{page}_asked"] = ticket, asked


def remembered(page: str) -> tuple[Ticket | None, object]:
    """Return the page's ticket and what was asked for."""
    return st.session_state.get(f"{page}_ticket"), st.session_state.get(f"{page}_asked")


def outcome(
    ticket: Ticket,
    slot: str,
    *,
    live: Draw = lambda _: None,
    cancelled: str = CHANGE_AND_START,
    cancel: Callable[[], None] | None = None,
    wait: float = 0.0,
) -> Files | None:
    """Return the files of a finished job; show how any other stands, and return None.

    Args:
        slot: the page's or section's name for its one job.
        live: draws what a running job has emitted so far.
        cancel: stands in for the ticket's own.
        wait: seconds for a job that may be kept or quick.
    """
    status = ticket.wait(wait)
    if status.state == "done":
        return ticket.result()
    if not status.finished:
        follow(ticket, live, slot, cancel=cancel or ticket.cancel)
    elif status.state == "cancelled":
        st.info(cancelled, icon=":material/cancel:")
    else:
        st.error(literal(status.note), icon=":material/error:")
    return None


def files_of(
    kind: str, payload: Mapping[str, object], *, offer: str | None = None, live: Draw = lambda _: None
) -> Files | None:
    """Return the files of a job that follows from a click, or None while it runs; the rest of the page goes on.

    A job that was cancelled or has failed is not started again by the page being drawn anew.

    Args:
        offer: the words of a button that starts it, where no click has asked for it yet; what is kept needs none.
        live: draws what it has emitted so far.
    """
    ticket, asked = remembered(kind)
    if ticket is None or asked != payload:
        found = jobs().known(kind, payload) if offer else jobs().submit(kind, payload)
        if found is None and st.button(str(offer), key=f"{kind}_offer"):
            found = jobs().submit(kind, payload)
        if found is None:
            return None
        ticket = found
        remember(kind, ticket, payload)
    files = outcome(ticket, kind, live=live, cancelled="Cancelled.", wait=SHORT)
    if files is None and ticket.status().finished and st.button("Try again", key=f"{kind}_again"):
        st.session_state.pop(f"{kind}_ticket")
        st.rerun()
    return files


def follow(ticket: Ticket, draw: Draw, key: str, *, cancel: Callable[[], None] | None) -> None:
    """Show a running job and what it has emitted so far; ``cancel`` None: it cannot be stopped from here."""
    partials = ticket.partials()
    bar, body = st.container(), st.container()  # of their own: what comes and goes in one must not move the other
    with bar:
        _bar(ticket, tuple(partials.items()), key, cancel)
    with body:
        draw(partials)


@st.fragment(run_every=POLL)
def _bar(ticket: Ticket, drawn: tuple[tuple[str, bytes], ...], key: str, cancel: Callable[[], None] | None) -> None:
    status = ticket.status()
    if status.finished or tuple(ticket.partials().items()) != drawn:
        st.rerun()
    with errors_as_sentences():
        bar, button = st.columns([5, 1], vertical_alignment="center")
        if status.state == "queued":
            bar.progress(0.0, text=f"Waiting: {_before(status.position)}.")
        else:
            left = "" if status.remaining is None else f" · about {status.remaining:.0f} s left"
            bar.progress(min(status.fraction, 1.0), text=f"{literal(status.note)}{left}")
        # A callback runs before everything else: a click is never lost to the page being drawn anew.
        if cancel is not None:
            button.button("Cancel", key=f"{key}_cancel", width="stretch", on_click=cancel)


def _before(count: int) -> str:
    """Return how many jobs come before one's own."""
    return {0: "yours is the next job", 1: "one job comes first"}.get(count, f"{count} jobs come first")


def wait_briefly(ticket: Ticket, seconds: float, text: str) -> Status:
    """Wait for a short job with a notice; each turn touches the page, so that a click interrupts the wait."""
    status = ticket.wait(WAIT_STEP)
    if status.finished:
        return status
    notice = st.empty()
    end = time.monotonic() + seconds
    while not status.finished and time.monotonic() < end:
        queue = f" In the queue {_before(status.position)}." if status.position else ""
        notice.caption(f":material/hourglass_top: {text}{queue}")
        status = ticket.wait(WAIT_STEP)
    notice.empty()
    return status
