"""A participant of plain HTTP who does with an unsent answer what the trial component does with it in the browser.

The answer is kept and sent again until the server says that it is stored; what is on its way is not sent again; a
server or proxy that asks to come later is no refusal. The waits are the component's, divided by ``HURRY``, so that
hundreds of interruptions take minutes and repetitions meet more of the work that they repeat. Where the component would
turn to the page (another status, no JSON) or ask the person once more, this participant is stuck: the route alone has
to do.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from spade_core.config import ASSETS
from spade_core.ui.participant.route import HELD, PATH


def _rule(script: str, name: str) -> Any:
    """Return a constant of the component's own scripts."""
    text = (ASSETS / "trial" / script).read_text(encoding="utf-8")
    found = re.search(rf"^const {name} = ([^;]+);", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"{script} has no constant {name}")
    return json.loads(found[1].replace("_", ""))


HURRY = 20.0
FIRST_WAIT = _rule("outbox.js", "FIRST_WAIT") / 1000 / HURRY  # seconds
LONGEST_WAIT = _rule("outbox.js", "LONGEST_WAIT") / 1000 / HURRY
GROWTH = _rule("outbox.js", "GROWTH")
LOST = _rule("route.js", "LOST") / 1000
LATER = frozenset(_rule("route.js", "LATER"))
LIMIT = 60.0  # seconds until a message has to be acknowledged
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a connection is cut, not closed


@dataclass(frozen=True)
class Delivery:
    """What became of a message.

    Attributes:
        step: the route's last answer; None: there was none, and why is in ``trouble``.
        attempts: how often the message was sent; seconds: from the first time to the acknowledgement.
    """

    step: Mapping[str, Any] | None
    attempts: int
    seconds: float
    trouble: str = ""


class Participant:
    """One browser's tab.

    Attributes:
        told: study, token and tab, as the page tells them.
    """

    def __init__(self, host: str, told: Mapping[str, str]) -> None:
        self.told, self._origin, self._held = dict(told), f"http://{host}", list[str]()
        self._line = http.client.HTTPConnection(host, timeout=LOST)

    def deliver(
        self,
        message: Mapping[str, object],
        meanwhile: Callable[[], None] = lambda: None,
        missed: Callable[[], None] = lambda: None,
    ) -> Delivery:
        """Send a message until the server has taken it.

        Args:
            meanwhile: called once the message is on its way for the first time; missed: after every vain attempt.
        """
        begun, wait = time.monotonic(), FIRST_WAIT
        for attempts in count(1):
            due = time.monotonic() + wait
            status, text = self._exchange(message, meanwhile if attempts == 1 else lambda: None)
            seconds = time.monotonic() - begun
            if status == 200 or (status is not None and status not in LATER):
                return self._delivery(status, text, attempts, seconds)
            missed()
            if seconds > LIMIT:
                break
            while due < time.monotonic():  # the time of a repetition while the last one was on its way
                wait = min(wait * GROWTH, LONGEST_WAIT)
                due += wait
            time.sleep(due - time.monotonic())
            wait = min(wait * GROWTH, LONGEST_WAIT)
        return Delivery(None, attempts, seconds, f"not acknowledged within {LIMIT:.0f} s")

    def cut(self) -> None:
        """Break the connection, without a word."""
        if self._line.sock is not None:
            self._line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self._line.close()

    def _exchange(self, message: Mapping[str, object], meanwhile: Callable[[], None]) -> tuple[int | None, str]:
        """Send a message and return status and text of the answer; None: there was none."""
        headers = {"Content-Type": "application/json", "Origin": self._origin}
        body = json.dumps({**self.told, **message, "held": self._held[-HELD:]})
        try:
            self._line.request("POST", PATH, body, headers)
            meanwhile()
            answer = self._line.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.cut()
            return None, ""

    def _delivery(self, status: int, text: str, attempts: int, seconds: float) -> Delivery:
        try:
            step = json.loads(text) if status == 200 else None
        except ValueError:
            step = None
        if step is None:
            return Delivery(None, attempts, seconds, f"the route refuses: {status} {text[:200]}")
        self._held += dict.fromkeys(name.rpartition("-")[0] for name in step.get("pictures", ()))
        if step["refused"]:
            return Delivery(None, attempts, seconds, "the answer is refused")
        return Delivery(step, attempts, seconds)
