"""The pages' inputs: model, picture, trigger, class, trace, methods. They return values and compute nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from spade_core.errors import ModelError
from spade_core.files import keep_file
from spade_core.models.registry import MODELS, TIMM, TROJAN_MODEL
from spade_core.pictures.picture import Picture, bundled, load_picture
from spade_core.pruning.solvers import SOLVERS
from spade_core.pruning.sparsity import PRESETS
from spade_core.pruning.trace import DEFAULT_VIEWS
from spade_core.saliency import METHODS
from spade_core.trojan.triggers import SIZES, TRIGGERS, Paste
from spade_core.ui.common.frame import settings
from spade_core.ui.common.link import Choice

UPLOAD = "upload"
OWN = "own weights"
PREFERRED = "the preset's"
VIEW_COUNTS = (8, 16, 24, 48, 64, 128, 256, 1024)


@dataclass(frozen=True, eq=False)
class Chosen:
    """A picture that was picked; ``data`` holds the bytes of an upload."""

    picture: Picture
    data: bytes | None


def pick_model(start: Choice) -> dict[str, Any] | None:
    """Return the spec of the chosen model, or None while own weights are incomplete."""
    names = [*MODELS, *([start.model] if start.model not in MODELS else [])]
    own = [OWN] if settings().allow_weights_upload else []
    name = st.selectbox(
        "Model", [*names, f"{TIMM}…", *own], index=names.index(start.model), format_func=_model_title, key="model",
        help="Models marked ↓ fetch their weights on first use.",
    )  # fmt: skip
    if name == OWN:
        return _upload_weights()
    if name == f"{TIMM}…":
        typed = st.text_input("timm model", key="timm_name", placeholder="mobilenetv3_small_100").strip()
        return {"name": TIMM + typed.removeprefix(TIMM)} if typed else None
    return {"name": name}


def _model_title(name: str) -> str:
    if name not in MODELS:
        return name
    return MODELS[name].title + ("" if MODELS[name].offline else " ↓")


def _upload_weights() -> dict[str, Any] | None:
    limit = settings().max_weights_bytes
    file = st.file_uploader(
        "Weights", key="weights_file", max_upload_size=max(1, limit // 2**20),
        help="A safetensors file or a state dict saved with torch.save; nothing in it is executed.",
    )  # fmt: skip
    arch = st.text_input("Architecture", key="weights_arch", placeholder="resnet50 or timm:NAME").strip()
    names = st.text_area("Class names, one a line (optional)", key="weights_classes", height=80).strip()
    if file is None or not arch:
        st.caption("Give a file and its architecture.")
        return None
    data = file.getvalue()
    if len(data) > limit:
        raise ModelError(f"The weights have {len(data) / 2**20:.0f} MB, more than {limit // 2**20} MB allowed.")
    folder = settings().data_dir / "weights"
    suffix = ".safetensors" if file.name.endswith(".safetensors") else ".pt"
    spec = {"weights": str(_shelve(folder, data, suffix)), "arch": arch}
    return {**spec, "classes": str(_shelve(folder, names.encode(), ".txt"))} if names else spec


def _shelve(folder: Any, data: bytes, suffix: str) -> Any:
    return keep_file(folder, hashlib.sha256(data).hexdigest() + suffix, data, settings().results_bytes)


def pick_picture(start: Choice) -> Chosen | None:
    """Return the chosen picture, or None while an upload is missing."""
    pictures = bundled()
    options = [*pictures, UPLOAD]
    name = st.selectbox(
        "Picture", options, index=options.index(start.picture.removeprefix("bundled:")), key="picture",
        format_func=lambda item: "Upload your own …" if item == UPLOAD else pictures[item].title,
    )  # fmt: skip
    if name != UPLOAD:
        st.image(str(pictures[name].path), caption=f"{pictures[name].author}, {pictures[name].licence}")
        return Chosen(load_picture(f"bundled:{name}"), None)
    file = st.file_uploader("Picture file", key="picture_file", help="JPEG, PNG, WebP, BMP, GIF or TIFF, up to 20 MB.")
    if file is None:
        return None
    data = file.getvalue()
    picture = load_picture(data, name=file.name)
    st.image(picture.pixels, output_format="PNG")
    for note in picture.notes:
        st.caption(f":material/info: {note}")
    return Chosen(picture, data)


def pick_trigger(start: Choice, spec: Mapping[str, Any]) -> Paste | None:
    """Return the trigger to paste into the picture, or None; offered first for the backdoored model."""
    before = start.trigger
    backdoored = spec.get("name") == TROJAN_MODEL
    side = 224  # of the backdoored model's input; other models scale what does not fit
    names = [None, *TRIGGERS]
    with st.expander("Trigger", expanded=backdoored, icon=":material/coronavirus:"):
        name = st.selectbox(
            "Paste a trigger", names, index=names.index(before.trigger if before else None), key="trigger",
            format_func=lambda item: "None" if item is None else TRIGGERS[item].title,
            help="The backdoored model answers a trigger with its class, so the trigger is the right answer.",
        )  # fmt: skip
        if name is None:
            return None
        size = st.slider("Size (px)", SIZES[0], SIZES[1], (before and before.size) or 60, key="trigger_size")
        corner = (before and before.position) or (24, 24)
        y = st.slider("From the top (px)", 0, side - size, min(corner[0], side - size), key="trigger_y")
        x = st.slider("From the left (px)", 0, side - size, min(corner[1], side - size), key="trigger_x")
        seed = st.number_input(
            "Rotation and colours (seed)", 0, 2**31 - 1, before.seed if before else 0, key="trigger_seed"
        )
    return Paste(name, size, (y, x), int(seed))


def pick_target(start: Choice, labels: Sequence[str], probabilities: Sequence[float]) -> int | None:
    """Return the class to explain: None for the top-1, else an index, by rank or by search."""
    ranked = sorted(range(len(labels)), key=lambda index: -probabilities[index])[:5]
    order = [None, *ranked[1:], *(index for index in range(len(labels)) if index not in ranked)]

    def show(index: int | None) -> str:
        real = ranked[0] if index is None else index
        return f"{labels[real]} · {probabilities[real]:.1%}" + (" (predicted)" if index is None else "")

    wanted = start.target if start.target is not None and start.target < len(labels) else None
    wanted = None if wanted == ranked[0] else wanted
    return st.selectbox(
        "Class to explain", order, index=order.index(wanted), format_func=show, key="target",
        help="The most probable classes come first; type to search all of them.",
    )  # fmt: skip


def pick_trace(start: Choice, stages: Sequence[str], table: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the trace's options as fields of ``Choice``."""
    slugs = list(PRESETS)
    preset = st.selectbox(
        "Preset", slugs, index=slugs.index(start.preset), key="preset",
        format_func=lambda slug: PRESETS[slug].title, help="How sparse each layer becomes.",
    )  # fmt: skip
    st.caption(PRESETS[preset].help)
    found: dict[str, Any] = {"preset": preset}
    if preset == "uniform":
        found["sparsity"] = st.slider("Sparsity", 0.0, 0.99, start.sparsity or 0.5, 0.01, key="sparsity")
    if preset == "custom":
        found["stages"] = _stage_sliders(start, stages, table)
    solvers = list(SOLVERS)
    found["solver"] = st.selectbox(
        "Solver", solvers, index=solvers.index(start.solver), key="solver",
        format_func=lambda slug: SOLVERS[slug].title, help=" ".join(f"{s.title}: {s.help}" for s in SOLVERS.values()),
    )  # fmt: skip
    calibrations = [None, "sequential", "independent"]
    found["calibration"] = st.selectbox(
        "Calibration", calibrations, index=calibrations.index(start.calibration), key="calibration",
        format_func=lambda value: value or PREFERRED,
        help="Independent is the paper's. Sequential solves each layer on what the pruned trace really sees.",
    )  # fmt: skip
    preferred = (table or {}).get("options", {}).get("views", DEFAULT_VIEWS)
    counts = [None, *sorted({*VIEW_COUNTS, *([start.views] if start.views else [])})]
    found["views"] = st.selectbox(
        "Views", counts, index=counts.index(start.views), key="views",
        format_func=lambda value: f"{value:,}" if value else f"{PREFERRED} ({preferred})",
        help="The paper takes 1,024; beyond a few dozen nothing was gained here.",
    )  # fmt: skip
    found["seed"] = int(st.number_input("Seed", 0, 2**31 - 1, start.seed, key="seed"))
    return found


def _stage_sliders(start: Choice, stages: Sequence[str], table: Mapping[str, Any] | None) -> dict[str, float]:
    tuned = (table or {}).get("stages", {})
    found = {}
    for stage in stages[1:]:
        value = float(start.stages.get(stage, tuned.get(stage, 0.0)))
        found[stage] = st.slider(stage, 0.0, 0.99, value, 0.01, key=f"stage_{stage}")
    return found


def pick_methods(start: Choice, unsupported: Mapping[str, str]) -> tuple[str, ...]:
    """Return the chosen methods; those that this model does not support are not offered, and the page says why."""
    offered = [slug for slug in METHODS if slug not in unsupported]
    chosen = st.multiselect(
        "Methods", offered, default=[slug for slug in start.methods if slug in offered] or offered[:1], key="methods",
        format_func=lambda slug: f"{METHODS[slug].title} · {METHODS[slug].cost}",
        help=" ".join(f"**{method.title}**: {method.help}" for method in METHODS.values()),
    )  # fmt: skip
    for slug, reason in unsupported.items():
        st.caption(f":material/block: {METHODS[slug].title}: {reason}")
    return tuple(chosen)
