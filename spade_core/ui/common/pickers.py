"""The pages' inputs: model, picture, trigger, class, trace, methods. They return values and compute nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from spade_core.errors import ModelError
from spade_core.files import keep_file
from spade_core.models.naming import titled
from spade_core.models.registry import HUB, MODELS, OUTPUTS, TIMM, TROJAN_MODEL
from spade_core.pictures.frame import CENTRE, LETTERBOX, Frame, parse_frame
from spade_core.pictures.picture import READABLE, Picture, bundled, load_picture
from spade_core.pruning.kinds import Number, OneOf, Ratios, Switch, Whole
from spade_core.pruning.options import BUNDLE_OPTIONS, TRACE_OPTIONS, Option, Widget
from spade_core.pruning.sparsity import Tuned
from spade_core.roles import allows
from spade_core.saliency import COSTS, METHOD_OPTIONS, METHODS
from spade_core.saliency.options import MethodOption
from spade_core.trojan.triggers import SIZES, TRIGGERS, Paste
from spade_core.ui.common.frame import settings, show_notes
from spade_core.ui.common.link import Choice
from spade_core.ui.common.text import literal
from spade_core.ui.common.uploads import KEPT, UPLOADED, ask_for_file

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

T = TypeVar("T")
UPLOAD = "upload"
HELD = "held_upload"  # the session's name for the token of its upload
CHOSEN_CLASS = "chosen_class"  # the session's name for the class to explain, and of what
OWN = "own weights"
FOLDER_FILES = ("config.json", "preprocessor_config.json", "processor_config.json")
MOST_CONFIG = 2**24  # bytes
PREFERRED = "the preset's"
MAX_SIDE = 1024  # px, of a model's input
LONGEST_NAME = 80  # letters of an uploaded file's
SEVERAL = 3  # reasons why methods are not offered, which then fold up
SIZE, CORNER = 60, (24, 24)  # px, of a trigger that has no place yet


@dataclass(frozen=True, eq=False)
class Chosen:
    """A picture that was picked.

    Attributes:
        data: the bytes of an upload.
        place: where it is shown, until what the model sees of it is known.
        credit: its author and licence.
    """

    picture: Picture
    data: bytes | None
    place: DeltaGenerator
    credit: str = ""


def pick_model(start: Choice) -> dict[str, object] | None:
    """Return the spec of the chosen model, or None while own weights are incomplete."""
    packages = {name: entry.missing for name, entry in MODELS.items() if entry.missing and name != start.model}
    names = [*(name for name in MODELS if name not in packages), *([start.model] if start.model not in MODELS else [])]
    hub = [f"{HUB}…"] if allows(settings().mode, "bring") else []
    offered = [*names, f"{TIMM}…", *hub, *([OWN] if settings().allow_weights_upload else [])]
    hint = "Models marked ↓ fetch their weights on first use."
    hint += "".join(f" {MODELS[name].title} needs `pip install {missing}`." for name, missing in packages.items())
    name = st.selectbox("Model", offered, names.index(start.model), format_func=model_title, key="model", help=hint)
    if name == OWN:
        return _upload_weights()
    if name == f"{TIMM}…":
        typed = st.text_input("timm model", key="timm_name", placeholder="mobilenetv3_small_100").strip()
        return {"name": TIMM + typed.removeprefix(TIMM)} if typed else None
    if name == f"{HUB}…":
        hint = "An image classifier that timm or transformers saved on the Hugging Face hub; no code of it is run."
        typed = st.text_input("Hub model", key="hub_name", placeholder="google/vit-base-patch16-224", help=hint).strip()
        return {"name": HUB + typed.removeprefix(HUB)} if typed else None
    return {"name": name}


def model_title(name: str) -> str:
    """Return what people call a model, with a mark if its weights must be fetched."""
    if name not in MODELS:
        return name
    return MODELS[name].title + ("" if MODELS[name].package else " ↓")


def _upload_weights() -> dict[str, object] | None:
    """Draw the fields of own weights; return their spec, or None while file or architecture are missing."""
    limit = settings().max_weights_bytes
    hint = "A safetensors file, a state dict saved with torch.save, or an ONNX file; nothing in it is executed."
    file = ask_for_file("Weights", "weights_file", limit, hint=hint)
    hint = "Instead of an architecture, from the folder that timm or transformers saved: config.json and, if it is "
    hint += "there, preprocessor_config.json."
    beside = st.file_uploader("Its config.json", "json", accept_multiple_files=True, key="weights_config", help=hint)
    hint = "Not needed for an ONNX file, and with a config.json."
    arch = st.text_input("Architecture", key="weights_arch", placeholder="resnet50 or timm:NAME", help=hint).strip()
    hint = "One a line, in the order of the indices; or the content of a JSON file of names."
    names = st.text_area("Class names (optional)", key="weights_classes", height=80, help=hint).strip()
    given = _input_fields()
    output = st.selectbox(
        "Output",
        (None, *OUTPUTS),
        key="weights_output",
        format_func=lambda slug: "told from its numbers" if slug is None else slug,
        help="; ".join(f"{slug}: {what}" for slug, what in OUTPUTS.items()),
    )
    alone = file is not None and file.name.lower().endswith(".onnx")
    if file is None or not (arch or beside or alone):
        st.caption("Give a file, and its architecture or its config.json.")
        return None
    if beside:
        kept = _keep_folder(file.name, file.getvalue(), {one.name: one.getvalue() for one in beside})
    else:
        kept = _keep_weights(file.name, file.getvalue())
    spec: dict[str, object] = {"weights": kept, **({} if beside or alone else {"arch": arch}), **given}
    spec |= {"output": output} if output else {}
    return {**spec, "classes": _keep_weights("classes.txt", names.encode())} if names else spec


def _input_fields() -> dict[str, object]:
    """Draw what of the input differs from the architecture's, and return it."""
    found: dict[str, object] = {}
    with st.expander("Input, where it is not the architecture's", icon=":material/crop_square:"):
        size = st.number_input("Side (px)", 1, MAX_SIDE, None, key="weights_size")
        for name, label, usual in (
            ("mean", "Mean of the channels", "0.485, 0.456, 0.406"),
            ("std", "Standard deviation", "0.229, 0.224, 0.225"),
        ):
            text = st.text_input(label, key=f"weights_{name}", placeholder=usual).strip()
            if text:
                found[name] = _read_numbers(label, text)
    return found | ({} if size is None else {"size": size})


def _read_numbers(label: str, text: str) -> list[float]:
    try:
        return [float(part) for part in re.split(r"[\s,;]+", text)]
    except ValueError:
        raise ModelError(f"{label}: give numbers, as 0.485, 0.456, 0.406, not {text[:40]!r}.") from None


def _keep_weights(name: str, data: bytes) -> str:
    """Keep an uploaded file under its own name, which the model then has, in a folder by its content."""
    name = (
        re.sub(r"[^\w .+()-]", "_", name.replace("\\", "/").rpartition("/")[2])[-LONGEST_NAME:].lstrip(".") or "weights"
    )
    place = f"{hashlib.sha256(data).hexdigest()[:16]}/{name}"
    try:
        return str(keep_file(settings().data_dir / "weights", place, data, settings().results_bytes))
    except OSError as error:
        raise ModelError(
            f"The server cannot keep {name} ({error.strerror}): make room or set SPADE_DATA_DIR."
        ) from error


def _plain_stem(file: str) -> str:
    """Return a file's name as a model is called by it: without folders, suffix and anything odd."""
    return re.sub(r"[^\w-]", "_", PurePath(file.replace("\\", "/")).stem)[-60:] or "model"


def _keep_folder(file: str, data: bytes, beside: Mapping[str, bytes]) -> str:
    """Keep uploaded weights as a model's folder, under the names that its library reads and no others."""
    if strange := [name for name in beside if name not in FOLDER_FILES]:
        raise ModelError(f"{strange[0][:60]!r} is not read: give {', '.join(FOLDER_FILES)} of the model's folder.")
    if sum(map(len, beside.values())) > MOST_CONFIG:
        raise ModelError(f"The configuration has more than {MOST_CONFIG // 2**20} MB: give the files of the model.")
    files = {"model.safetensors" if file.lower().endswith(".safetensors") else "pytorch_model.bin": data, **beside}
    found = hashlib.sha256()
    for name, one in sorted(files.items()):
        found.update(f"{name} {len(one)}\n".encode() + one)
    place = f"{found.hexdigest()[:16]}/{_plain_stem(file)}"
    for name, one in files.items():
        kept = keep_file(settings().data_dir / "weights", f"{place}/{name}", one, settings().results_bytes)
    return str(kept.parent)


def pick_picture(start: Choice) -> Chosen | None:
    """Return the chosen picture, or None while an upload is missing."""
    begin = UPLOAD if start.picture.startswith(UPLOADED) else start.picture.removeprefix("bundled:")
    name = select_picture("Picture", begin, "picture")
    if name == UPLOAD:
        return _pick_upload(start.picture.removeprefix(UPLOADED) if begin == UPLOAD else None)
    entry, place = bundled()[name], st.empty()
    credit = f"{entry.author}, {entry.licence}"
    place.image(str(entry.path), caption=credit, alt=entry.title)
    return Chosen(load_picture(f"bundled:{name}"), None, place, credit)


def _pick_upload(linked: str | None) -> Chosen | None:
    """Return the uploaded picture, or the one whose token the session or the link has."""
    file = ask_for_file("Picture file", "picture_file", hint=f"{READABLE}, up to 20 MB.")
    token = st.session_state.get(HELD, linked)
    found = (file.name, file.getvalue()) if file is not None else KEPT.find(token or "")
    if found is None:
        if token:
            gone = "The picture that was uploaded is no longer kept on this server: upload it again."
            st.warning(gone, icon=":material/hide_image:")
        return None
    name, data = found
    picture, place = load_picture(data, name=name), st.empty()
    place.image(picture.pixels, output_format="PNG", alt=f"The picture {name}")
    show_notes(picture.notes)
    if file is None:
        st.session_state[HELD] = token
        st.caption(f"{literal(name)} is kept while this server runs and has room, for whoever has this page's address.")
        st.button("Forget it", key="forget_upload", on_click=_forget, args=(token,))
    return Chosen(picture, data, place)


def _forget(token: str) -> None:
    KEPT.drop(token)
    st.session_state.pop(HELD, None)
    st.query_params.clear()


def keep_upload(chosen: Chosen, path: str) -> str:
    """Return the token of an upload that lies at ``path``, a new one where it is another than before."""
    token: str | None = st.session_state.get(HELD)
    if token is None or KEPT.find(token) != (chosen.picture.name, chosen.data):
        token = st.session_state[HELD] = KEPT.keep(chosen.picture.name, path)
    return token


def pick_frame(start: Choice) -> str:
    """Return the text of the frame: what of the picture the model sees."""
    before = parse_frame(start.frame)
    moved = "moved"
    titles = {str(CENTRE): "Its centre", str(LETTERBOX): "All of it, between bars", moved: "Another part of it"}
    begin = moved if before not in (CENTRE, LETTERBOX) else str(before)
    chosen = select("The model sees", titles, begin, "frame", "Models read squares: the rest of a picture is cut off.")
    if chosen != moved:
        return chosen
    y = st.slider("From the top (%)", 0, 100, before.y, key="frame_y")
    x = st.slider("From the left (%)", 0, 100, before.x, key="frame_x")
    return str(Frame(y=y, x=x))


def select_picture(label: str, begin: str, key: str) -> str:
    """Return the name of a bundled picture, or ``UPLOAD``."""
    titles = {name: entry.title for name, entry in bundled().items()} | {UPLOAD: "Upload your own …"}
    return select(label, titles, begin, key)


def select(label: str, titles: Mapping[T, str], begin: T, key: str, hint: str | None = None) -> T:
    """Return the choice among what has these titles."""
    slugs = list(titles)
    return st.selectbox(label, slugs, slugs.index(begin), format_func=titles.__getitem__, key=key, help=hint)


def pick_trigger(start: Choice, spec: Mapping[str, object]) -> Paste | None:
    """Return the trigger to paste into the picture, or None; offered first for the backdoored model."""
    before = start.trigger
    side = 224  # of the backdoored model's input; other models scale what does not fit
    hint = "The backdoored model answers a trigger with its class, so the trigger is the right answer."
    with st.expander("Trigger", expanded=spec.get("name") == TROJAN_MODEL, icon=":material/coronavirus:"):
        name = select_trigger("Paste a trigger", before, "trigger", hint)
        if name is None:
            return None
        size = st.slider("Size (px)", SIZES[0], SIZES[1], (before and before.size) or SIZE, key="trigger_size")
        corner = (before and before.position) or CORNER
        y = st.slider("From the top (px)", 0, side - size, min(corner[0], side - size), key="trigger_y")
        x = st.slider("From the left (px)", 0, side - size, min(corner[1], side - size), key="trigger_x")
        turn = before.seed if before else 0
        seed = st.number_input("Rotation and colours (seed)", 0, 2**31 - 1, turn, key="trigger_seed")
    return Paste(name, size, (y, x), int(seed))


def select_trigger(label: str, begin: Paste | None, key: str, hint: str) -> str | None:
    """Return the name of a trigger, or None."""
    titles: dict[str | None, str] = {None: "None"} | {name: trigger.title for name, trigger in TRIGGERS.items()}
    return select(label, titles, begin.trigger if begin else None, key, hint)


def pick_target(start: Choice, labels: Sequence[str], probabilities: Sequence[float], of: Sequence[str]) -> int | None:
    """Return the class to explain: None for the top-1, else an index, by rank or by search.

    Args:
        of: what tells one model and picture from another, and what else the probabilities depend on. The choice stays
            while the first is the same; the field is a new one whenever what it says has changed.
    """
    ranked = sorted(range(len(labels)), key=lambda index: -probabilities[index])[:5]
    order = [None, *ranked[1:], *(index for index in range(len(labels)) if index not in ranked)]

    def show(index: int | None) -> str:
        real = ranked[0] if index is None else index
        return f"{labels[real]} · {probabilities[real]:.1%}" + (" (predicted)" if index is None else "")

    before, wanted = st.session_state.get(CHOSEN_CLASS, (of[0], start.target))
    wanted = wanted if before == of[0] and wanted is not None and wanted < len(labels) else None
    index = order.index(None if wanted == ranked[0] else wanted)
    hint = "The most probable classes come first; type to search all of them."
    key = "_".join(("target", *of))
    chosen = st.selectbox("Class to explain", order, index, format_func=show, key=key, help=hint)
    st.session_state[CHOSEN_CLASS] = of[0], chosen
    return chosen


def pick_trace(choice: Choice, start: Choice, stages: Sequence[str], tuned: Tuned | None) -> Choice:
    """Draw what a page offers of the trace's options, and return ``choice`` with what is chosen.

    Args:
        start: where the fields begin, and what is not offered stays.
        stages: of the model; tuned: its table.
    """
    found: dict[str, Any] = {}
    for name, option in TRACE_OPTIONS.items():
        if option.preset not in (None, found.get("preset")):
            continue
        begin = getattr(start, name)
        if option.widget is None:  # a link may have said it
            found[name] = begin
        elif isinstance(option.kind, Ratios):
            ratios = dict.fromkeys(stages[1:], 0.0) | (tuned["stages"] if tuned else {}) | begin
            found[name] = {
                one: st.slider(titled(one), 0.0, 0.99, float(ratios[one]), 0.01, key=f"stage_{one}")
                for one in stages[1:]
            }
        elif isinstance(option.kind, OneOf):
            found[name] = _pick_slug(name, option.kind, option.widget, begin)
        else:
            preferred = tuned["options"].get(name) if tuned else None
            found[name] = _pick_number(name, option, option.widget, begin, preferred or option.otherwise)
    return replace(choice, **found)


def pick_bundle(choice: Choice, start: Choice) -> Choice:
    """Draw how many traces a map is made of, and how; return ``choice`` with what is chosen."""
    found: dict[str, Any] = {}
    for name, option in BUNDLE_OPTIONS.items():
        begin = getattr(start, name)
        if option.widget is None or found.get("traces") == 1:
            found[name] = begin
        elif isinstance(option.kind, OneOf):
            found[name] = _pick_slug(name, option.kind, option.widget, begin)
        else:
            found[name] = _pick_number(name, option, option.widget, begin, option.otherwise)
    return replace(choice, **found)


def _pick_slug(name: str, kind: OneOf, widget: Widget, begin: str | None) -> str | None:
    """Draw the choice of an entry of a table; an option that begins open may stay so."""
    entries = kind.titled()
    slugs = [*([None] if getattr(Choice(), name) is None else []), *(widget.offered or kind.table)]
    titles = {slug: entries[slug].title if slug in entries else slug or PREFERRED for slug in slugs}
    hint = widget.help or " ".join(f"{entry.title}: {entry.help}" for entry in entries.values())
    found = select(widget.label, titles, begin, name, hint)
    if widget.explained and found is not None:
        st.caption(entries[found].help)
    return found


def _pick_number(
    name: str, option: Option, widget: Widget, begin: float | None, preferred: object
) -> float | bool | None:
    """Draw a switch, a slider or a field; or the choice of a count, where None leaves it to the preset."""
    hint = widget.help or None
    if isinstance(option.kind, Switch):
        return st.toggle(widget.label, bool(begin), key=name, help=hint)
    if isinstance(option.kind, Number):
        low, first = float(option.kind.low), begin or widget.begin
        return st.slider(widget.label, low, widget.most, first, 0.01, key=name, help=hint)
    if isinstance(option.kind, Whole) and not widget.counts:
        return st.number_input(widget.label, option.kind.low, option.kind.high, begin, key=name, help=hint)
    counts = [None, *sorted({*widget.counts, *([begin] if begin else [])})]
    titles = {count: f"{count:,}" if count else f"{PREFERRED} ({preferred})" for count in counts}
    return select(widget.label, titles, begin, name, hint)


def pick_methods(start: Choice, unsupported: Mapping[str, str]) -> tuple[str, ...]:
    """Return the chosen methods, the cheapest first, whose maps are there first.

    Those that this model does not support are not offered, and the page says why.
    """
    offered = sorted((slug for slug in METHODS if slug not in unsupported), key=_cost)
    first = [slug for slug in start.methods if slug in offered] or offered[:1]
    title = {slug: f"{method.title} · {method.cost}" for slug, method in METHODS.items()}.__getitem__
    hint = " ".join(f"**{method.title}**: {method.help}" for method in METHODS.values())
    chosen = st.multiselect("Methods", offered, first, format_func=title, key="methods", help=hint)
    few = len(unsupported) < SEVERAL
    place = st.container() if few else st.expander(f"{len(unsupported)} methods do not fit this model")
    for reason in unsupported.values():  # each names its method
        place.caption(f":material/block: {literal(reason)}")
    return tuple(sorted(chosen, key=offered.index))


def _cost(slug: str) -> int:
    return COSTS.index(METHODS[slug].cost)


def pick_method_options(
    start: Choice, methods: Sequence[str], advice: Mapping[str, str] | None = None
) -> Mapping[str, Mapping[str, object]]:
    """Draw a field for each option of the chosen methods, and return those that are not at their defaults.

    Args:
        advice: layers that are worth reading, best first, and why.
    """
    asked = [METHODS[slug] for slug in methods if METHODS[slug].options]
    found: dict[str, dict[str, object]] = {}
    if not asked:
        return found
    with st.expander("Options of the methods", icon=":material/instant_mix:"):
        for method in asked:
            begin = method.complete(start.options.get(method.slug, {}))
            st.markdown(f"**{method.title}**")
            found[method.slug] = {
                name: _pick_option(option, begin[name], f"option_{method.slug}_{name}", advice or {})
                for name, option in method.options.items()
            }
    return METHOD_OPTIONS.check(found)


def _pick_option(option: MethodOption, begin: Any, key: str, advice: Mapping[str, str]) -> object:
    """Draw the field of an option; an empty one leaves it at its default."""
    kind, label, hint = option.kind, option.label, option.help
    if isinstance(kind, OneOf):
        return select(label, {slug: slug for slug in kind.table}, begin, key, hint)
    if isinstance(kind, Whole):
        return st.number_input(label, kind.low, kind.high, begin, key=key, help=hint)
    if isinstance(kind, Number):
        low, high = float(kind.low), float(kind.high)
        return st.number_input(label, low, high, begin, step=0.01, format="%.4g", key=key, help=hint)
    layers = list(dict.fromkeys(["", *advice, begin or ""]))
    told = " ".join(f"**{name}**: {reason}" for name, reason in advice.items())
    typed = st.selectbox(
        label,
        layers,
        layers.index(begin or ""),
        format_func=lambda name: titled(name) if name else "The last one",
        key=key,
        help=f"{hint} {told}",
        accept_new_options=True,
    )
    return typed or None
