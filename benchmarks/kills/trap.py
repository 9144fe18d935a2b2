"""Stops the server at one step of its way with an answer, so that something can happen there and nowhere else."""

from __future__ import annotations

import os
import select
from multiprocessing.sharedctypes import RawValue

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STEPS = (
    "received",  # the message has been read
    "begun",  # the transaction
    "decided",  # all that the answer depends on has been read, nothing was written
    "written",  # the first of its rows: others are not, and nothing is committed
    "committing",  # the last moment before
    "committed",  # the first moment after
    "responding",  # before the response
    "head sent",  # between its head and its body
    "body sent",  # after it
)
ANY = "any moment"  # no step: whatever the server does then


class Trap:
    """Shared by the two processes: one sets it, the other runs into it, once."""

    def __init__(self) -> None:
        self._step = RawValue("i", -1)  # of STEPS, on the way of the message that comes next; -1: none
        self._awaited = -1  # the same of the message that the server is at
        self._caught, self._catch = os.pipe()
        self._gone_on, self._go_on = os.pipe()

    def set(self, step: str) -> None:
        """Catch the server at the step of the message that it reads next."""
        self._step.value = STEPS.index(step)

    def caught(self, seconds: float) -> bool:
        """Wait until the server stands at the step; return whether it does."""
        ready, _, _ = select.select([self._caught], [], [], seconds)
        return bool(ready and os.read(self._caught, 1))

    def let_go(self) -> None:
        """Let the server go on."""
        os.write(self._go_on, b".")

    def at(self, step: str) -> None:
        """Say in the server that it has come to a step; comes back when it may go on."""
        if step == STEPS[0]:  # not before: the end of the last message may still be to come when this one is sent
            self._awaited, self._step.value = self._step.value, -1
        if self._awaited != STEPS.index(step):
            return
        self._awaited = -1
        os.write(self._catch, b".")
        os.read(self._gone_on, 1)

    def _writes(self, statement: str, step: str) -> None:
        if statement.startswith(("UPDATE", "INSERT", "DELETE")):
            self.at(step)

    def close(self) -> None:
        """Give its pipes back."""
        for end in (self._caught, self._catch, self._gone_on, self._go_on):
            os.close(end)

    def lay(self) -> None:
        """Watch the steps of this process's transactions."""
        event.listen(Session, "after_begin", lambda *_: self.at("begun"))
        event.listen(Engine, "before_cursor_execute", lambda *told: self._writes(told[2], "decided"))
        event.listen(Engine, "after_cursor_execute", lambda *told: self._writes(told[2], "written"))
        event.listen(Engine, "commit", lambda *_: self.at("committing"))
        event.listen(Session, "after_commit", lambda *_: self.at("committed"))


class Watched:
    """ASGI middleware: the steps of a message and its response."""

    def __init__(self, app: ASGIApp, trap: Trap) -> None:
        self.app, self.trap = app, trap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                self.trap.at("received")
            return message

        async def sent(message: Message) -> None:
            head = message["type"] == "http.response.start"
            if head:
                self.trap.at("responding")
            await send(message)
            self.trap.at("head sent" if head else "body sent")

        await self.app(scope, received, sent)
