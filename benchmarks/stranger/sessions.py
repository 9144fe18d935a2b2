"""A stranger with a session of its own: files that it sends, and frames for what its pages do not show.

The ids of widgets and fragments, and the pages' hashes, are those of a copy of the app that the stranger runs at home,
where every page is open.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import func, select
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets import Subprotocol
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from benchmarks.stranger.planted import SECRET, Planted, Tell
from spade_core.study.data.store import Store
from spade_core.study.data.tables import Participant, Study

PAGES = ("", "saliency", "neurons", "trace", "folder", "history", "evidence", "study", "survey", "tour")
PATIENCE, QUIET = 60.0, 0.5  # seconds until a page has run; after which nothing comes
NAMES = ("study_login", "login", "admin", "password", "access", "token", "mode", "typed_id", "tab", "memory_slot")
PATHS = "picture=/etc/passwd&weights=/etc/passwd&images=/etc&table=/etc/passwd&load=1&run=1&methods=saliency"
MB = 2**20


@dataclass
class Home:
    """What a page of the stranger's own copy tells: its hash, its buttons' ids by their labels, its fragments' ids."""

    hash: str = ""
    buttons: dict[str, str] = field(default_factory=dict)
    fragments: set[str] = field(default_factory=set)


class Session:
    """A connection to the pages.

    Attributes:
        name: the session's id; messages: all that came of the last frame.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.name = ""
        self.messages: list[ForwardMsg] = []

    def ask(self, frame: BackMsg, *, patience: float = PATIENCE) -> str:
        """Send a frame; return all that comes of it, as text."""
        self.messages = []
        with suppress(TimeoutError, WebSocketException, OSError):
            self._socket.send(frame.SerializeToString())
            while not self._hear(patience):
                pass
        return "\n".join(map(str, self.messages))

    def _hear(self, patience: float) -> bool:
        said = self._socket.recv(timeout=patience)
        message = ForwardMsg.FromString(said if isinstance(said, bytes) else said.encode())
        self.messages.append(message)
        if message.WhichOneof("type") == "new_session":
            self.name = message.new_session.initialize.session_id
        return message.WhichOneof("type") == "script_finished"


@contextmanager
def session(url: str, *known: str) -> Iterator[Session]:
    """Yield a connection; ``known``: a token against forgery and an older session's id, as browsers give them."""
    address = url.replace("http", "ws", 1) + "/_stcore/stream"
    given = [Subprotocol(one) for one in ("streamlit", *known)]
    with connect(address, subprotocols=given, max_size=None, open_timeout=PATIENCE) as socket:
        yield Session(socket)


def page(name: str, query: str = "", *, widgets: Sequence[WidgetState] = ()) -> BackMsg:
    """Return the frame that asks for a page."""
    found = BackMsg()
    found.rerun_script.page_name, found.rerun_script.query_string = name, query
    found.rerun_script.widget_states.widgets.extend(widgets)
    return found


def learn(url: str) -> dict[str, Home]:
    """Return what the pages of an open copy tell."""
    found: dict[str, Home] = {}
    for name in PAGES:
        with session(url) as own:
            own.ask(page(name))
            home = found.setdefault(name, Home())
            for message in own.messages:
                _learn(home, message)
    return found


def _learn(home: Home, message: ForwardMsg) -> None:
    if message.WhichOneof("type") == "navigation":
        home.hash = message.navigation.page_script_hash
    if message.WhichOneof("type") == "delta":
        element = message.delta.new_element
        if element.WhichOneof("type") == "button":
            home.buttons[element.button.label] = element.button.id
        if message.delta.fragment_id:
            home.fragments.add(message.delta.fragment_id)


@dataclass(frozen=True)
class Asking:
    """Asks by frames of a session, and tells of each what it gave away."""

    own: Session
    planted: Planted
    tell: Tell

    def __call__(self, tried: str, frame: BackMsg, *, patience: float = PATIENCE, bad: str = "") -> None:
        """Ask; ``bad``: a word that must not come."""
        text = self.own.ask(frame, patience=patience)
        found = [word for word in (SECRET, bad) if word and word in text]
        came = f"{len(self.own.messages)} messages, {len(text)} characters"
        self.tell(f"frame: {tried}", came, self.planted.in_(text) or ", ".join(found))


def frames(url: str, planted: Planted, homes: Mapping[str, Home], tell: Tell) -> None:
    """Ask by frames for other pages, press buttons that are not shown, run fragments, and ask for Streamlit's own."""
    before, start = _held(planted.database), page("survey", f"study={planted.key}")
    with session(url) as own:
        own.ask(start)
        for name, home in homes.items():
            _ask_for(Asking(own, planted, tell), name, home)
        mine = [WidgetState(id=one, string_value="right") for one in NAMES]
        for name in ("study", "saliency"):
            asking = Asking(own, planted, tell)
            asking(f"page “{name}”, values under the names of a login", page(name, widgets=mine))
    with session(url) as own, session(url) as other:
        own.ask(start)
        other.ask(start)
        asking = Asking(own, planted, tell)
        asking("where to upload for somebody else", _urls(other.name), patience=QUIET, bad=other.name)
        for name, frame in _streamlits(other.name):
            asking(name, frame, patience=QUIET, bad="git_info_changed")
    for guessed in ("00000000-0000-4000-8000-000000000000", "1", "*"):
        with session(url, "x", guessed) as again:
            again.ask(start)
            tell(f"session: to go on with “{guessed}”", "a new one", guessed if again.name in ("", guessed) else "")
    after = _held(planted.database)
    tell("database, after all frames", f"{after}", "" if after == before else f"changed from {before}")


def _ask_for(asking: Asking, name: str, home: Home) -> None:
    """Ask for a page by its hash, with its buttons pressed, and for its fragments."""
    other = page("", PATHS)
    other.rerun_script.page_script_hash = home.hash
    asking(f"the hash of page “{name}”", other)
    for label, pressed in home.buttons.items():
        asking(f"page “{name}”, “{label}” pressed", page(name, widgets=[_pressed(pressed)]))
    for fragment in sorted(home.fragments):
        part = page(name)
        part.rerun_script.fragment_id = fragment
        asking(f"a fragment of page “{name}”", part, patience=5)


def _pressed(name: str) -> WidgetState:
    return WidgetState(id=name, trigger_value=True)


def _urls(name: str) -> BackMsg:
    found = BackMsg()
    found.file_urls_request.session_id, found.file_urls_request.request_id = name, "1"
    found.file_urls_request.file_names.append("x.png")
    return found


def _streamlits(name: str) -> Iterator[tuple[str, BackMsg]]:
    """Yield what Streamlit does for its developer."""
    for kind in ("clear_cache", "load_git_info", "set_run_on_save", "debug_shutdown_runtime"):
        setattr(told := BackMsg(), kind, True)
        yield kind, told
    for kind in ("install_skills", "dismiss_skills_nudge"):
        asked = BackMsg()
        getattr(asked.backend_operation_request, kind).SetInParent()
        asked.backend_operation_request.session_id = name
        yield kind, asked
    download, rows = BackMsg(), BackMsg()
    download.backend_operation_request.deferred_file.file_id = "0" * 32
    rows.backend_operation_request.dataframe_chunk.source_id = "0" * 32
    yield "a download of somebody else", download
    yield "a table's rows of somebody else", rows


def _held(database: str) -> tuple[int, ...]:
    """Return how many studies there are, and how many people, of which status."""
    store = Store(database)
    counted = select(Participant.status, func.count()).group_by(Participant.status).order_by(Participant.status)
    people = store.run(lambda opened: [count for _, count in opened.execute(counted)])
    studies = store.run(lambda opened: opened.scalar(select(func.count()).select_from(Study)) or 0)
    store.close()
    return (studies, *people)


def uploads(url: str, planted: Planted, tell: Tell) -> None:
    """Send files for sessions: the stranger's own, somebody else's and none, too large, too many and without length."""
    token = _token(url)
    for name in ("survey", "saliency", "study"):
        with session(url) as own, session(url) as other:
            for one in (own, other):
                one.ask(page(name, f"study={planted.key}"))

            def put(tried: str, to: str, data: bytes, length: str | None = None, name: str = name) -> None:
                status, said = _put(url, to, data, token, length=length)
                given = "taken" if 200 <= status < 400 else ""
                tell(f"PUT {tried}, page “{name}”", f"{status}, {said}", given)

            for whose, to in (("own", own.name), ("somebody else's", other.name), ("no", "0" * 36), ("..", "..")):
                put(f"a file, {whose} session", to, b"x" * 1000)
            put("20 MB, own session", own.name, b"x" * (20 * MB))
            for length in ("", "0", "-1", "1e3", str(10**15)):
                put(f"with the length “{length}”", own.name, b"x", length)
            taken = sum(_put(url, own.name, b"x" * MB, token, file=str(at))[0] < 400 for at in range(20))
            tell(f"PUT 20 files of 1 MB, page “{name}”", f"{taken} taken", "taken" if taken else "")


def _token(url: str) -> str:
    """Return the token against forgery that the server gives to any browser."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    connection.request("GET", "/_stcore/host-config")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    found = re.search("_streamlit_xsrf=([^;]+)", answer.headers.get("Set-Cookie", ""))
    return found[1] if found else ""


def _put(
    url: str, name: str, data: bytes, token: str, *, file: str = "1", length: str | None = None
) -> tuple[int, str]:
    """Send a file; return status and the first words of the answer."""
    body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.png"\r\n\r\n' + data + b"\r\n--b--\r\n"
    kind = "multipart/form-data; boundary=b"
    headers = {"X-Xsrftoken": token, "Cookie": f"_streamlit_xsrf={token}", "Content-Type": kind}
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.putrequest("PUT", f"/_stcore/upload_file/{name}/{file}")
        for key, value in {**headers, "Content-Length": str(len(body)) if length is None else length}.items():
            if value:
                connection.putheader(key, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read(200).decode("utf-8", "replace").replace("\n", " ")
    except (OSError, http.client.HTTPException) as error:
        return 599, type(error).__name__
    finally:
        connection.close()
