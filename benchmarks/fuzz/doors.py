"""The doors that read text, and all of them together: links, designs, ids, answers, headers, frames, free texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from google.protobuf.message import DecodeError
from starlette.datastructures import Headers
from streamlit.proto.BackMsg_pb2 import BackMsg

from benchmarks.fuzz.files import Door, bytes_of, file_doors, picture_doors, text_of
from benchmarks.fuzz.networks import network_doors
from spade_core.config import Settings
from spade_core.pruning.tables import Table
from spade_core.study.admission.access import Evidence, client_of, decide
from spade_core.study.admission.devices import Device, is_mobile
from spade_core.study.admission.links import Signer, arriving_id, base_of, typed_id
from spade_core.study.design.design import parse_design
from spade_core.study.design.questions import Text, read_replies
from spade_core.study.running.answers import Answer
from spade_core.study.running.person import return_code
from spade_core.ui.common.link import Choice
from spade_core.ui.participant.route import Note, is_same_origin

DESIGN = """\
name: a  # of a study
controller: a
contact: b
ethics: c
retention: d
age: e
conditions: [dense, spade]
trials: 12
minutes_limit: 30
questions: {extra: [{name: helpful, kind: rating, text: "How much?", low: 1, high: 7}]}
texts: {consent: text, instructions: [one], comprehension: [{question: q, options: [a, b], correct: 1}]}
codes: {complete: A1, declined: B1, screened_out: C1, failed: D1, time_over: E1, return_url: "https://x.example/{code}"}
analysis: {thresholds: {total_minutes: [2, 120]}, exclusions: [attention]}
"""
TABLE = {
    "chosen": "trojan-auc",
    "stages": {"layer1": 0.5, "layer2": 0.9},
    "depthwise": 0.1,
    "options": {"weighting": "target", "refit": 3.0, "views": 4},
    "methods": {"lime": {"layer1": 0.3}, "lrp": "dense"},
}
HEADERS = {
    "host": "localhost:8501",
    "peer": "127.0.0.1",
    "origin": "http://localhost:8501",
    "x-forwarded-for": "10.0.0.1, 2001:db8::1",
}
QUERY = (
    "model=resnet18&picture=bundled:cat&target=3&stages=layer1:0.5&views=8&seed=7&trigger=heart:50:20x30:1"
    "&layer=conv_head&channel=7&position=2x6&steps=8&images=2&methods=lime&sparsity=0.3&other=bundled:dog"
)
ANSWER = "choice=region_1&confidence=2&rt_ms=900&rt_source=browser&timed_out=&onset_utc=2026-01-01T00:00:00Z"


def doors(folder: Path) -> dict[str, tuple[str, Door]]:
    """Return each door by its name: a good input, and what reads one.

    Args:
        folder: for the files that they read.
    """
    return {**_links(folder), **_texts(), **_route(), **_frames(), **picture_doors(), **file_doors(folder)} | (
        network_doors(folder)
    )


def _links(folder: Path) -> dict[str, tuple[str, Door]]:
    signer = Signer(folder / "secrets")
    personal = urlsplit(signer.personal("http://x", "key", "P1", 2e9)).query
    return {
        "link": (QUERY, lambda text: Choice.from_query(pairs(text))),
        "personal link": (personal, lambda text: arriving_id(pairs(text), "key", "open", signer, 1.0)),
        "address": ("https://study.example.org:8443/spade", base_of),
    }


def _texts() -> dict[str, tuple[str, Door]]:
    asked = (Text(name="why", text="Why?", kind="text", max_length=40),)
    return {
        "design": (DESIGN, parse_design),
        "table": (json.dumps(TABLE), Table().read),
        "id": ("PID 1", lambda text: typed_id(text, "typed")),
        "answer": (ANSWER, lambda text: Answer.read(_typed(pairs(text)))),
        "return code": ("0123 4567 89ab cdef 0123 4567 89ab cdef", return_code),
        "free text": ("because\nof its ears", lambda text: read_replies(asked, {"why": text})),
    }


def _route() -> dict[str, tuple[str, Door]]:
    """Return the doors of requests: what is sent to the route of the trials, and headers that say who asks."""
    settings = Settings.from_environment()

    def read(text: str) -> object:
        found = Note.of(text.encode("utf-8", "surrogatepass"))
        return None if found is None else Answer.read(found.answer or {})

    def origin(text: str) -> bool:
        value = text.encode("utf-8", "surrogatepass")
        return is_same_origin(Headers(raw=[(b"origin", value), (b"host", b"localhost:8501")]))

    def headers(text: str) -> object:
        found = {name: str(value) for name, value in _object(text).items()}
        evidence = Evidence("127.0.0.1", found.pop("peer", None), tuple(found.items()))
        return decide(settings, evidence), client_of(evidence)

    return {
        "route": (json.dumps(note()), read),
        "origin": ("http://localhost:8501", origin),
        "headers": (json.dumps(HEADERS), headers),
    }


def note() -> dict[str, object]:
    """Return a good message of the trial component to its route, from nobody."""
    answer = {"trial_id": "0" * 32, "choice": "region_1", "rt_ms": 900.5, "extra": {"why": "x"}, "resizes": [{"ms": 1}]}
    return {"study": "key", "token": "0" * 32, "tab": "0" * 16, "answer": answer, "read": None, "held": ["0" * 32]}


def _frames() -> dict[str, tuple[str, Door]]:
    """Return the doors of the websocket: a frame as the characters of Latin-1, and what components say in it."""
    return {
        "frame": (text_of(frame().SerializeToString()), lambda text: _read_frame(bytes_of(text))),
        "said": (json.dumps({**said()["window"], **said()["trial"]}), _read_said),
    }


def said() -> dict[str, dict[str, object]]:
    """Return what the components of the participants' page say, by their names."""
    size = {"width": 1280, "height": 900, "dpr": 1.5, "browser": "Mozilla/5.0", "touch_points": 0}
    answer = {"trial_id": "0" * 32, "choice": "region_1", "confidence": 2, "focus_losses": [{"ms": 1.5}]}
    return {"window": {"size": size}, "trial": {"answer": answer}}


def frame() -> BackMsg:
    """Return a good frame of the participants' page."""
    found = BackMsg()
    found.rerun_script.query_string, found.rerun_script.page_name = "study=key&PROLIFIC_PID=P1", "survey"
    for name, value in said().items():
        found.rerun_script.widget_states.widgets.add(id=name, json_value=json.dumps(value))
    return found


def _read_frame(data: bytes) -> None:
    found = BackMsg()
    try:
        found.ParseFromString(data)
    except DecodeError:  # which closes the connection
        return
    Choice.from_query(pairs(found.rerun_script.query_string))
    for widget in found.rerun_script.widget_states.widgets:
        _read_said(widget.json_value)


def _read_said(text: str) -> None:
    """Read what the components of the participants' page say."""
    told = _object(text)
    size, answer = told.get("size"), told.get("answer")
    if isinstance(size, dict):
        is_mobile(Device.model_validate(size))
    if isinstance(answer, dict):
        Answer.read(answer)


def _object(text: str) -> dict[str, object]:
    """Return a JSON object as Streamlit would hand it on; an empty one: it would not."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def pairs(text: str) -> dict[str, str]:
    """Return the parameters of a query."""
    return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))


def _typed(found: Mapping[str, str]) -> dict[str, object]:
    """Return values as JSON would give them."""
    return {name: _number(value) for name, value in found.items()}


def _number(value: str) -> object:
    read: Callable[[str], object] = float if "." in value or "n" in value[:1] else int
    try:
        return read(value)
    except ValueError:
        return value
