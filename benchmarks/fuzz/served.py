"""Frames and bodies through a server that runs, sent as a stranger sends them, its log, memory and answers watched.

A frame is that of the pages' websocket: bytes that are changed, fields that hold other values, and values of any kind
for the widgets that the page has just shown. A body goes to the route of the trials. Beside them an honest visitor
opens the participants' page now and then.
"""

from __future__ import annotations

import json
import logging
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from scipy.stats import theilslopes
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets import Subprotocol
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from benchmarks.fuzz.doors import QUERY, frame, note
from benchmarks.fuzz.files import bytes_of, text_of
from benchmarks.fuzz.inputs import PIECES, VALUES, changed, changed_text
from benchmarks.fuzz.run import PATIENCE, memory_mib
from benchmarks.serving import start_server, stop_server
from benchmarks.survey_client import SurveyClient
from spade_core.study.admission.devices import Device
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.design.design import demo_design
from spade_core.study.design.schedule import seeded
from spade_core.study.running.flow import check_device, comprehend, consent, finish_instructions
from spade_core.study.running.person import Person, enter, person
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

logger = logging.getLogger(__name__)

MODES = ("study", "local")
PAGES = ("", "saliency", "neurons", "trace", "folder", "history", "evidence", "tour", "study", "survey", "survey")
QUIET = 0.25  # seconds after which nothing comes in answer to a frame
LOOKED_EVERY = 50  # frames and bodies
NETS = ("the page failed", "an action failed", "Failed to deserialize component state")  # logged of what was caught
_LAST = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE)


@dataclass
class Served:
    """What a server did.

    Attributes:
        mode: ``SPADE_MODE``; sent: frames and bodies, by kind.
        found: an input of each kind of fault; caught: how often the page's own net caught what was raised, by kind: the
            sender is told one sentence, nobody else notices.
        memory: inputs and the server's MiB then; waits: seconds of the honest visitor.
        slowest: seconds until an answer to a frame or a body was whole.
    """

    mode: str
    sent: Counter[str] = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)
    caught: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[int, float]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    slowest: float = 0.0

    def fault(self, kind: str, sent: object) -> None:
        """Keep an input that shows a fault."""
        self.found.setdefault(kind, f"input {self.sent.total()}: {str(sent)[:300]!r}")

    def took(self, seconds: float, sent: object) -> None:
        """Note how long an answer took."""
        self.slowest = max(self.slowest, seconds)
        if seconds > PATIENCE:
            self.fault("hangs", sent)

    def growth(self) -> tuple[float, float, float]:
        """Return MiB in 1,000 inputs by which memory grows in the second half, with its 95 % interval (Theil-Sen)."""
        warm = self.memory[len(self.memory) // 2 :]
        found = theilslopes([mib for _, mib in warm], [at / 1_000 for at, _ in warm])
        return float(found.slope), float(found.low_slope), float(found.high_slope)

    def row(self) -> str:
        """Return its row of the table."""
        slope, low, high = self.growth()
        kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(self.sent.items()))
        waits = sorted(self.waits)
        return (
            f"| {self.mode} | {kinds} | {len(self.found)} | {self.caught.total()} | {self.slowest:.1f} | "
            f"{self.memory[-1][1]:.0f} MiB, {slope:+.1f} [{low:+.1f}, {high:+.1f}] | "
            f"{median(waits):.2f} ({waits[-1]:.2f}) |"
        )


HEADING = (
    "| mode | sent | kinds of fault | ended in the page's own sentence | slowest answer, s | "
    "memory at the end, its growth in 1,000 inputs | an honest visitor's wait, median (most), s |\n"
    "|---|---|---|---|---|---|---|"
)


def show(done: Served) -> None:
    """Print what is beside the table's row: what the page's net caught, and each fault with an input that shows it."""
    for kind, count in done.caught.most_common():
        print(f"{done.mode}, caught {count} times: {kind}")
    for kind, text in done.found.items():
        print(f"{done.mode}: {kind}\n    {text}")


def serve_and_send(mode: str, seed: int, inputs: int) -> Served:
    """Start a server of a mode, send it so many frames and as many bodies, and say what it did."""
    done = Served(mode)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, open(Path(place) / "log", "ab") as log:
        key, queries = _study(Path(place))
        environment = {"SPADE_DATA_DIR": place, "SPADE_MODE": mode, "SPADE_JOBS": "inline"}
        process, url = start_server("app.py", environment, errors=log.fileno())
        try:
            with Tab(url, queries) as tab:
                for page in PAGES:  # the first time, each loads its libraries
                    tab.send(_framed(page, queries[0]).SerializeToString())
                for number in range(inputs):
                    rng = seeded(f"served/{seed}/{mode}/{number}")
                    _send_frame(tab, rng, done)
                    _send_body(url, key, rng, done)
                    if number % LOOKED_EVERY == LOOKED_EVERY - 1:
                        done.memory.append((done.sent.total(), memory_mib(process.pid)))
                        done.waits.append(_visit(url, key))
                    _look(Path(log.name), tab, done)
                    if process.poll() is not None:
                        done.fault("the server has ended", tab.last)
                        break
        finally:
            stop_server(process)
    return done


def _study(folder: Path) -> tuple[str, list[str]]:
    """Make a study; return its key, and the queries of somebody new and of people at several places of their way."""
    store, tokens = Store(f"sqlite:///{folder / 'study.sqlite3'}"), []
    design = demo_design()
    key = publish(store, design, load_set(DEMO_SET))
    right = tuple(question.correct for question in design.texts.comprehension)
    steps: tuple[Callable[[Person], object], ...] = (
        lambda who: check_device(store, who, width=1400, device=Device()),
        lambda who: consent(store, who, given=True),
        lambda who: finish_instructions(store, who),
        lambda who: comprehend(store, who, right),
    )
    for far in range(len(steps) + 1):
        tokens.append(token := enter(store, key, external_id=f"P{far}").token)
        for step in steps[:far]:
            if (who := person(store, key, token)) is not None:
                step(who)
    store.close()
    return key, [f"study={key}", *(f"study={key}&r={token}" for token in tokens)]


class Tab:
    """A stranger's connection, opened again whenever the server closes it; used as a context manager.

    Attributes:
        queries: that its pages may have; widgets: ids of those that the page has shown; last: what was sent last.
    """

    def __init__(self, url: str, queries: list[str]) -> None:
        self.queries = queries
        self._address = url.replace("http", "ws", 1) + "/_stcore/stream"
        self._socket: ClientConnection | None = None
        self.widgets: list[str] = []
        self.last: bytes | str = b""

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def send(self, data: bytes | str) -> float:
        """Send a frame; return the seconds until the page has run, or the server has closed or keeps quiet."""
        self.last, begun = data, time.perf_counter()
        try:
            if self._socket is None:
                self._socket = connect(self._address, subprotocols=[Subprotocol("streamlit")], max_size=None)
            self._socket.send(data)
            self._hear(self._socket)
        except (OSError, WebSocketException):
            self._socket = None
        return time.perf_counter() - begun

    def _hear(self, socket: ClientConnection) -> None:
        patience = QUIET
        with suppress(TimeoutError):
            while True:
                said = socket.recv(timeout=patience)
                message = ForwardMsg.FromString(said if isinstance(said, bytes) else said.encode())
                kind = message.WhichOneof("type")
                if kind == "new_session":
                    self.widgets.clear()
                    patience = 4 * PATIENCE
                elif kind == "delta":
                    self.widgets += _ids(message)
                elif kind == "script_finished":
                    return


def _ids(message: ForwardMsg) -> Iterator[str]:
    element = message.delta.new_element
    kind = element.WhichOneof("type")
    found = getattr(getattr(element, kind), "id", "") if kind else ""
    if isinstance(found, str) and found:
        yield found


def _send_frame(tab: Tab, rng: random.Random, done: Served) -> None:
    make = rng.choice((_bytes, _fields, _fields, _widgets, _widgets))
    data = make(tab, rng)
    done.sent[f"frames ({make.__name__[1:]})"] += 1
    done.took(tab.send(data), data)


def _bytes(tab: Tab, rng: random.Random) -> bytes | str:
    """Return bytes that are changed, or a text, which is no frame."""
    text = changed_text(text_of(_good(tab, rng).SerializeToString()), rng)
    return _plain(text) if rng.random() < 0.1 else bytes_of(text)


def _fields(tab: Tab, rng: random.Random) -> bytes:
    """Return a frame with hostile words in some of its fields, or of another type."""
    found = _good(tab, rng)
    state = found.rerun_script
    for name in rng.sample(("query_string", "page_name", "page_script_hash", "fragment_id"), rng.randint(0, 2)):
        setattr(state, name, _plain(changed(QUERY, rng)) if name == "query_string" else _word(rng))
    state.is_auto_rerun = rng.random() < 0.1
    state.cached_message_hashes.extend(_word(rng) for _ in range(rng.randrange(3)))
    if rng.random() < 0.2:
        other = rng.choice([one.name for one in BackMsg.DESCRIPTOR.fields if one.cpp_type == one.CPPTYPE_BOOL])
        setattr(found, other, True)
    return found.SerializeToString()


def _widgets(tab: Tab, rng: random.Random) -> bytes:
    """Return a frame that gives the page's widgets values of any kind."""
    found = _good(tab, rng)
    known = [*tab.widgets, _word(rng)]
    for _ in range(rng.randint(1, 3)):
        found.rerun_script.widget_states.widgets.append(_state(rng.choice(known), rng))
    return found.SerializeToString()


def _good(tab: Tab, rng: random.Random) -> BackMsg:
    return _framed(rng.choice(PAGES), rng.choice(tab.queries))


def _framed(page: str, query: str) -> BackMsg:
    found = frame()
    found.rerun_script.page_name, found.rerun_script.query_string = page, query
    return found


def _word(rng: random.Random) -> str:
    return _plain(rng.choice(PIECES))


def _plain(text: str) -> str:
    """Return what of a text protobuf takes."""
    return text.encode("utf-8", "ignore").decode()


def _state(name: str, rng: random.Random) -> WidgetState:
    """Return a value of any kind for a widget."""
    found, value = WidgetState(id=name), rng.choice(VALUES)
    kind = rng.choice(("trigger", "bool", "double", "int", "string", "doubles", "ints", "strings", "json", "bytes"))
    number = value if isinstance(value, int | float) and abs(value) < 2**53 else rng.choice((-1, 0, 7, 2**40))
    if kind == "trigger":
        found.trigger_value = True
    elif kind == "bool":
        found.bool_value = bool(value)
    elif kind == "double":
        found.double_value = float(rng.choice((number, "nan", "inf")))
    elif kind == "int":
        found.int_value = int(number)
    elif kind == "string":
        found.string_value = _word(rng)
    elif kind == "doubles":
        found.double_array_value.data.extend([float(number)] * rng.randrange(4))
    elif kind == "ints":
        found.int_array_value.data.extend([int(number)] * rng.randrange(4))
    elif kind == "strings":
        found.string_array_value.data.extend(_word(rng) for _ in range(rng.randrange(4)))
    elif kind == "json":
        found.json_value = json.dumps(value)
    else:
        found.bytes_value = bytes(rng.randbytes(20))
    return found


def _send_body(url: str, key: str, rng: random.Random, done: Served) -> None:
    """Send a message to the route of the trials, which answers all with a sentence or with what is asked for."""
    body = changed(json.dumps({**note(), "study": key}), rng)
    done.sent["bodies"] += 1
    begun = time.perf_counter()
    connection = HTTPConnection(urlsplit(url).netloc, timeout=4 * PATIENCE)
    headers = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
    try:
        connection.request("POST", "/survey/trial", body.encode("utf-8", "surrogatepass"), headers)
        if (status := connection.getresponse().status) >= 500:
            done.fault(f"status {status}", body)
    except (OSError, HTTPException) as error:
        done.fault(f"no answer: {type(error).__name__}", body)
    finally:
        connection.close()
    done.took(time.perf_counter() - begun, body)


def _visit(url: str, key: str) -> float:
    """Open the participants' page as anybody would; return the seconds until it has run."""
    begun = time.perf_counter()
    SurveyClient(url, f"study={key}", patience=4 * PATIENCE).close()
    return time.perf_counter() - begun


def _look(file: Path, tab: Tab, done: Served) -> None:
    """Find what was logged since the last look: each traceback is a fault, but of what the page's own net caught."""
    text = file.read_text("utf-8", "replace")
    with file.open("r+b") as opened:
        opened.truncate()
    if "Traceback" in text:
        kind = (_LAST.findall(text) or ["of what"])[-1][:80]
        if any(net in text for net in NETS):
            done.caught[kind] += 1
        else:
            logger.error("the server logs:\n%s", text)
            done.fault(f"a traceback: {kind}", tab.last)
