"""What every page that computes begins with: the link, the model, the picture, and what the worker knows of them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import streamlit as st

from spade_core.jobs.job import Ticket
from spade_core.models.registry import HUB, MODELS
from spade_core.pictures.frame import CENTRE
from spade_core.pictures.picture import Source, load_picture
from spade_core.pruning.sparsity import Tuned
from spade_core.roles import allows
from spade_core.trojan.triggers import Paste
from spade_core.ui.common import downloads, pickers
from spade_core.ui.common import jobs as jobs_module
from spade_core.ui.common.frame import FIRST_FIELD, LINK, jobs, settings, show_notes
from spade_core.ui.common.jobs import Files, follow, remember, remembered
from spade_core.ui.common.link import DEFAULT_METHODS, PAGE_METHODS, Choice
from spade_core.ui.common.text import literal
from spade_core.ui.common.uploads import UPLOADED

PAGE_PRESETS = ("default", "drawing")  # with which a page begins
LINKED_MODEL = "linked_model"  # the session's name for the model that a link asks for, until a click allows it
GONE = "The result of this link is not kept on this server, or no longer. "
WAIT = 5.0  # seconds for a short job before the page shows what it waits for


@dataclass(frozen=True)
class Described:
    """What the job ``describe`` says of a model and of its prediction."""

    name: str
    device: str
    labels: list[str]
    probabilities: list[float]
    stages: list[str]
    table: Tuned | None
    unsupported: dict[str, str]
    notes: list[str]
    advice: dict[str, str]

    @property
    def title(self) -> str:
        """What people call the model."""
        return MODELS[self.name].title if self.name in MODELS else self.name

    def called(self, target: int | None) -> str:
        """Return what people call a class, shortly; None: the predicted one."""
        index = self.probabilities.index(max(self.probabilities)) if target is None else target
        return self.labels[index].split(",")[0]


@dataclass(frozen=True, eq=False)
class Subject:
    """What is looked at.

    Attributes:
        spec: of the model; source: of the picture, as payloads name it, a trigger included.
        crop: what the model sees, uint8 ``(height, width, 3)``.
        link: how a link names the picture.
    """

    spec: dict[str, object]
    source: Source
    crop: np.ndarray
    described: Described
    link: str

    @property
    def identity(self) -> tuple[str, str]:
        """What tells model and picture from others, and then how the picture is shown, as words of keys."""
        how = self.source.get("frame"), self.source.get("trigger")
        return _short(json.dumps([self.spec, self.source["path"]])), _short(json.dumps(how))

    @property
    def linkable(self) -> bool:
        """Whether a link can name it: a registered model."""
        return "name" in self.spec

    @property
    def paste(self) -> Paste | None:
        """The trigger in the picture."""
        trigger = self.source.get("trigger")
        return Paste.from_dict(trigger) if trigger else None

    def choice(self) -> Choice:
        """Return the choice of it, nothing else being chosen."""
        frame = self.source.get("frame", str(CENTRE))
        return Choice(model=str(self.spec.get("name", "own")), picture=self.link, frame=frame, trigger=self.paste)

    def same(self, other: Subject) -> bool:
        """Whether model, picture and trigger are the same."""
        return (self.spec, self.source) == (other.spec, other.source)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Attributes:
        choice: of what people choose; subject: of what.
        clicked: whether by a click rather than by a link; at: when, seconds since 1970.
    """

    ticket: Ticket
    choice: Choice
    subject: Subject
    clicked: bool
    at: float


def ask(slot: str, kind: str, choice: Choice, subject: Subject, *, clicked: bool, **more: object) -> None:
    """Ask for a job of a page about model and picture.

    Args:
        clicked: submit it; else, for a link, take it only where it is kept or somebody's already: whoever opens a link,
            or makes others open it, must not start work.
        more: the rest of its payload.
    """
    payload = {"model": subject.spec, "picture": subject.source, **more}
    ticket = jobs().submit(kind, payload) if clicked else jobs().known(kind, payload)
    note_gone(slot, gone=ticket is None)
    if ticket is None:
        st.session_state.pop(f"{slot}_ticket", None)
        return
    remember(slot, ticket, (choice, subject, clicked, time.time()))


def asked(slot: str) -> Asked | None:
    """Return what :func:`ask` submitted last."""
    ticket, what = remembered(slot)
    return Asked(ticket, *what) if ticket is not None and isinstance(what, tuple) else None


def note_gone(slot: str, *, gone: bool) -> None:
    """Let :func:`show_hint` know whether a link has asked in vain."""
    st.session_state[f"{slot}_gone"] = gone


def show_hint(slot: str, hint: str) -> None:
    """Show what to do where there is no result, and why there is none where a link has asked for one."""
    gone = st.session_state.get(f"{slot}_gone") and st.query_params.to_dict()
    st.info((GONE if gone else "") + hint, icon=":material/touch_app:")


def show_link(choice: Choice, subject: Subject, *, methods: bool = False) -> None:
    """Write an analysis into the address bar, or clear it where no link can name the analysis."""
    write_link(choice.to_query(methods=methods) if subject.linkable else {})


def write_link(query: dict[str, str]) -> None:
    """Write a link into the address bar; where it is another than before, Back leads to that."""
    st.query_params.from_dict(query)
    st.session_state[LINK] = query


def start_of(page: str, *, preset: str = "default", first: Choice | None = None) -> Choice:
    """Return what the address bar asks for, read once a link; what of a link cannot be read, it says.

    Where no link says otherwise the page begins with ``preset`` and its own methods; where nothing was chosen on any
    page, with ``first``, whose result is shown if it is kept.
    """
    state, query = st.session_state, st.query_params.to_dict()
    opened = FIRST_FIELD not in state
    if f"{page}_start" not in state or (query and (opened or query != state.get(LINK))):
        state[LINK] = query
        newcomer = not query and first is not None and "last_choice" not in state
        last = first if newcomer and first is not None else state.get("last_choice", Choice())
        if last.preset in PAGE_PRESETS:  # nobody's choice
            last = replace(last, preset=preset)
        found, told = Choice.from_link(query) if query else (last, ())
        if "methods" not in query and found.methods in (DEFAULT_METHODS, *PAGE_METHODS.values()):  # nobody's choice
            found = replace(found, methods=PAGE_METHODS.get(page, DEFAULT_METHODS))
        if query:
            state[LINKED_MODEL] = found.model
            state.pop(pickers.CHOSEN_CLASS, None)
        if token := found.picture.partition(UPLOADED)[2]:
            state[pickers.HELD] = token  # another than the upload that was looked at last
        state[f"{page}_start"], state[f"{page}_told"] = found, told
        linked = query.get("run", "1" if "methods" in query else "") == "1"
        state[f"{page}_run"] = newcomer or (linked and not told)
    for sentence in state[f"{page}_told"]:
        st.error(literal(sentence), icon=":material/link_off:")
    return state[f"{page}_start"]


def open_in(page: str, choice: Choice) -> None:
    """Leave for another page, which begins with a choice as if a link had led there: nothing is started."""
    state = st.session_state
    for name in ("ticket", "asked"):
        state.pop(f"{page}_{name}", None)
    state[f"{page}_start"], state[f"{page}_told"], state[f"{page}_run"] = choice, (), True
    st.switch_page(f"pages/{page}.py")


def asked_by_link(page: str) -> bool:
    """Return, once, whether the link names a result, which is shown where it is kept; a link starts nothing."""
    return bool(st.session_state.pop(f"{page}_run", False))


def pick_subject(start: Choice) -> Subject | None:
    """Draw the sidebar's first part; return None while something is missing."""
    with st.sidebar:
        spec = pickers.pick_model(start)
        chosen = pickers.pick_picture(start)
    if spec is None or chosen is None:
        st.info("Choose a model and a picture in the sidebar.")
        return None
    if not may_load(spec):
        return None
    source = jobs().shelve(chosen.picture.name, chosen.picture.sha256, chosen.data)
    link = source["path"] if chosen.data is None else UPLOADED + pickers.keep_upload(chosen, source["path"])
    _show_upload(link)
    with st.sidebar:
        frame = pickers.pick_frame(start)
        paste = pickers.pick_trigger(start, spec)
    if frame != str(CENTRE):
        source["frame"] = frame
    if paste is not None:
        source["trigger"] = paste.to_dict()
    described = wait_for("describe", {"model": spec, "picture": source}, "Loading the model and its prediction …")
    crop = downloads.read_array(described["crop.npy"])
    caption = f"What the model sees: {crop.shape[1]} x {crop.shape[0]} pixels"
    credited = f"{caption}. {chosen.credit}" if chosen.credit else caption
    chosen.place.image(crop, caption=credited, width="stretch", alt=f"{chosen.picture.name}, as the model sees it")
    found = downloads.read_json(described["model.json"])
    subject = Subject(spec, source, crop, Described(**{one.name: found[one.name] for one in fields(Described)}), link)
    with st.sidebar:
        show_notes((*found["picture"]["seen"], *subject.described.notes))
        st.caption(f":material/memory: Computed on {subject.described.device}")
    named = replace(start, model=str(spec.get("name", start.model)), trigger=paste, frame=frame)
    st.session_state.last_choice = replace(named, picture=link, target=None)
    return subject


def _show_upload(link: str) -> None:
    """Let the address bar name an upload as soon as it is there, so that a reload finds it; nothing of it has run.

    Another picture that is chosen later changes nothing before it is run: Back would lead to what was never shown.
    """
    query = st.query_params.to_dict()
    if link.startswith(UPLOADED) and query.get("picture") != link:
        write_link({**query, "picture": link, "run": "0"})


def may_load(spec: Mapping[str, object]) -> bool:
    """Return whether the model may be loaded: a link alone fetches no weights, it takes a click."""
    name, state = spec.get("name"), st.session_state
    if isinstance(name, str) and name.startswith(HUB) and not allows(settings().mode, "bring"):
        st.error("This server takes no models from the hub: choose another.", icon=":material/block:")
        return False
    here = name in MODELS and MODELS[name].offline
    if here or name is None or name != state.get(LINKED_MODEL):
        return True
    st.info(
        f"The link asks for {literal(name)}, which this server would have to load first.", icon=":material/download:"
    )
    return bool(st.button("Load the model", key="load_model", on_click=state.pop, args=(LINKED_MODEL,)))


def wait_for(kind: str, payload: Mapping[str, object], text: str) -> Files:
    """Return the files of a job without which the page cannot go on.

    Where other work keeps the worker busy, the page shows the place in the queue and stops here; it is drawn again once
    the job has ended. A job that failed meanwhile says so: the page kept its ticket, and does not submit it anew.
    """
    slot = f"{kind}_waiting"
    before, held = st.session_state.pop(slot, (None, None))
    asked = held is not None and before == payload
    ticket: Ticket = held if asked else jobs().known(kind, payload) or jobs().submit(kind, payload)
    status = jobs_module.wait_briefly(ticket, WAIT, text)
    if not status.finished:
        st.session_state[slot] = (payload, ticket)
        follow(ticket, lambda _: st.caption(f":material/hourglass_top: {text}"), kind, cancel=None)
        st.stop()
    return ticket.result()


CHECKED = 512  # pictures that are known to be some


def shelved(name: str, data: bytes | None = None) -> Source:
    """Return how payloads name a picture: an upload's ``data``, or ``bundled:NAME``.

    Raises:
        PictureError: the upload is no picture.
        ConfigError: it cannot be kept.
    """
    content = "" if data is None else hashlib.sha256(data).hexdigest()
    return jobs().shelve(name, _checked(name, content, data), data)


@st.cache_data(max_entries=CHECKED, show_spinner=False)
def _checked(name: str, content: str, _data: bytes | None) -> str:  # noqa: ARG001 - the content is the key
    """Return the picture's sha256, once it has been decoded."""
    return load_picture(name if _data is None else _data, name=name).sha256
