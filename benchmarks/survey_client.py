"""A participant of the survey page without a browser: Streamlit's own messages over its websocket, all of them kept.

It presses buttons by their labels and answers as the trial component does, by the server's route where the page tells
of one, and it keeps big messages as a browser does, so the server sends it what it sends a browser.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.BidiComponent_pb2 import BidiComponent
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets import Subprotocol
from websockets.sync.client import connect

PIXELS = re.compile(r"data:image/webp;base64,[A-Za-z0-9+/=]+")
EVENTS = "$$STREAMLIT_INTERNAL_KEY_{id}__events"
WINDOW = {"width": 1280, "height": 900, "dpr": 1}


@dataclass(frozen=True)
class Heard:
    """One frame as it came.

    Attributes:
        text: of the frame, with the length of each picture in place of its data URI.
        size: bytes on the wire; pictures: the data URIs' lengths.
    """

    text: str
    size: int
    pictures: tuple[int, ...]


@dataclass
class SurveyClient:
    """One tab on the survey page.

    Attributes:
        url: of the server; query: of the page, without the question mark; patience: seconds to wait for a frame.
        by_route: whether trials go by the route where there is one; else by runs of the page.
        heard: every frame and every answer of the route, in order; elements: of the page as it stands.
    """

    url: str
    query: str
    patience: float = 120.0
    by_route: bool = True
    heard: list[Heard] = field(default_factory=list)
    elements: dict[tuple[int, ...], Element] = field(default_factory=dict)

    def __post_init__(self) -> None:
        address = self.url.replace("http", "ws", 1) + "/_stcore/stream"
        subprotocols = [Subprotocol("streamlit")]
        self._closing = ExitStack()
        opened = connect(
            address, subprotocols=subprotocols, max_size=None, open_timeout=self.patience, ping_timeout=None
        )
        self._socket = self._closing.enter_context(opened)
        self._kept: dict[str, ForwardMsg] = {}
        self._states: dict[str, WidgetState] = {}
        self._page = ""
        self._sequence = 0
        self._trial: dict[str, Any] | None = None  # the last one that came by the route
        self._held: list[str] = []  # trials whose pictures came
        self._asking = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=self.patience)
        self._closing.callback(self._asking.close)
        self.run()

    def close(self) -> None:
        """Close the tab."""
        self._closing.close()

    def run(self, *triggers: WidgetState) -> None:
        """Let the page run with the widgets as they are and these triggers, to its end."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self.query, self._page
        if not self._page:  # later the page goes by its hash
            state.page_name = "survey"
        state.cached_message_hashes.extend(self._kept)
        state.widget_states.widgets.extend([*self._states.values(), *triggers])
        self._socket.send(message.SerializeToString())
        while not self._hear():
            pass

    def _asked(self, body: Mapping[str, Any]) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", "Origin": self.url}
        self._asking.request("POST", "/survey/trial", json.dumps(body), headers)
        return self._asking.getresponse()

    def press(self, label: str) -> None:
        """Press a button."""
        self.run(WidgetState(id=self._labelled("button", label).id, trigger_value=True))

    def has(self, kind: str, label: str) -> bool:
        """Return whether the page has a widget of this kind with this in its label."""
        return any(label in one.label for one in self._of(kind))

    def tick(self, label: str) -> None:
        """Tick the checkbox whose label contains this."""
        name = self._labelled("checkbox", label).id
        self._states[name] = WidgetState(id=name, bool_value=True)
        self.run()

    def choose(self, options: list[int]) -> None:
        """Choose an option of every radio group on the page; what is in a form is sent with its button."""
        for group, option in zip(self._of("radio"), options, strict=True):
            self._states[group.id] = WidgetState(id=group.id, string_value=group.options[option])

    def tell_window(self) -> None:
        """Say how large the window is."""
        name = self._component("window").id
        self._states[name] = WidgetState(id=name, json_value=json.dumps({"size": WINDOW}))
        self.run()

    def trial(self) -> str | None:
        """Return the id of the trial that the component shows, or None: there is none on the page."""
        data = self._data()
        return None if data is None else (self._trial or data["trial"])["trial_id"]

    def _data(self) -> dict[str, Any] | None:
        """Return what the page has told the trial component."""
        found = [one for one in self._of("bidi_component") if one.component_name.endswith("trial")]
        return json.loads(found[0].json) if found else None

    def answer(self, answer: Mapping[str, Any]) -> float:
        """Send an answer until it is acknowledged; return the seconds that took, to the next trial."""
        start = time.perf_counter()
        if self._turn({"answer": dict(answer)}):
            return time.perf_counter() - start
        self._post("answer", answer)
        while (given := self._data()) is not None and answer["trial_id"] not in given["acknowledged"]:
            self._post("answer", answer)
        return time.perf_counter() - start

    def go_on(self, trial_id: str) -> float:
        """Say that a practice trial's feedback was read; return the seconds until the next trial."""
        start = time.perf_counter()
        if not self._turn({"read": trial_id}):
            self._post("continued", {"trial_id": trial_id})
        return time.perf_counter() - start

    def _turn(self, told: Mapping[str, Any]) -> bool:
        """Take a turn by the route, and draw the page where that has something else to show; False: there is none."""
        data = self._data()
        if not self.by_route or data is None or data["route"] is None:
            return False
        status, text = self.ask({**data["route"], **told, "held": self._held[-8:]})
        if status != 200:
            raise RuntimeError(f"the route refuses: {status} {text}")
        step = json.loads(text)
        self._trial = step["trial"]
        self._held += dict.fromkeys(name.rpartition("-")[0] for name in step.get("pictures", ()))
        if self._trial is None:
            self._post("redraw", {})
        return True

    def ask(self, body: Mapping[str, Any]) -> tuple[int, str]:
        """Send a message to the route as a page of the server would; return status and text of its answer."""
        try:
            answer = self._asked(body)
        except ConnectionError:  # closed while nobody spoke; a browser tries again, too
            self._asking.close()
            answer = self._asked(body)
        data = answer.read()
        self._keep(data)
        return answer.status, data.decode()

    def text(self) -> str:
        """Return all of the page, for looking up words."""
        return "\n".join(str(element) for element in self.elements.values())

    def _post(self, event: str, value: Mapping[str, Any]) -> None:
        self._sequence += 1
        told = [{"event": event, "value": {**value, "sequence": self._sequence}}]
        name = EVENTS.format(id=self._component("trial").id)
        self.run(WidgetState(id=name, json_trigger_value=json.dumps(told)))

    def _of(self, kind: str) -> list[Any]:
        return [getattr(one, kind) for one in self.elements.values() if one.WhichOneof("type") == kind]

    def _component(self, ending: str) -> BidiComponent:
        return next(one for one in self._of("bidi_component") if one.component_name.endswith(ending))

    def _labelled(self, kind: str, label: str) -> Any:
        for one in self._of(kind):
            if label in one.label:
                return one
        raise LookupError(f"the page has no {kind} “{label}”; it shows:\n{PIXELS.sub('', self.text())[:2000]}")

    def _hear(self) -> bool:
        """Take one frame in; return whether the page has run to its end."""
        frame = self._socket.recv(timeout=self.patience)
        data = frame if isinstance(frame, bytes) else frame.encode()
        self._keep(data)
        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            known = self._kept[message.ref_hash]
            self._place(known, message)
        elif kind == "delta":
            if message.metadata.cacheable:
                self._kept[message.hash] = message
            self._place(message, message)
        elif kind == "new_session":
            self.elements.clear()
            self._trial = None
        elif kind == "navigation":
            self._page = message.navigation.page_script_hash
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        return kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY

    def _keep(self, data: bytes) -> None:
        """Keep what came, without its pictures."""
        text = data.decode("latin-1")
        pictures = tuple(len(found) for found in PIXELS.findall(text))
        self.heard.append(Heard(PIXELS.sub(lambda found: f"<{len(found[0])}>", text), len(data), pictures))

    def _place(self, content: ForwardMsg, place: ForwardMsg) -> None:
        if content.delta.WhichOneof("type") == "new_element":
            self.elements[tuple(place.metadata.delta_path)] = content.delta.new_element
