"""The choice of the model: a known one, one of timm or of the hub, or own weights, which are kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePath

import streamlit as st

from spade_core.errors import ModelError
from spade_core.files import keep_file
from spade_core.models.registry import HUB, MODELS, OUTPUTS, TIMM
from spade_core.pictures.size import parse_size
from spade_core.roles import allows
from spade_core.ui.common.frame import settings
from spade_core.ui.common.link import Choice
from spade_core.ui.common.uploads import ask_for_file

OWN = "own weights"
FOLDER_FILES = ("config.json", "preprocessor_config.json", "processor_config.json")
MOST_CONFIG = 2**24  # bytes
LONGEST_NAME = 80  # letters of an uploaded file's


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
    beside = st.file_uploader(
        "Its config.json",
        "json",
        accept_multiple_files=True,
        key="weights_config",
        max_upload_size=MOST_CONFIG // 2**20,
        help=hint,
    )
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
    itself = bool(beside) or (file is not None and file.name.lower().endswith(".onnx"))
    if arch and itself:
        raise ModelError("An ONNX file or a config.json says how the network is built: leave the architecture out.")
    if file is None or not (arch or itself):
        st.caption("Give a file, and its architecture or its config.json.")
        return None
    if beside:
        kept = _keep_folder(file.name, file.getvalue(), {one.name: one.getvalue() for one in beside})
    else:
        kept = _keep_weights(file.name, file.getvalue())
    spec: dict[str, object] = {"weights": kept, **({} if itself else {"arch": arch}), **given}
    spec |= {"output": output} if output else {}
    return {**spec, "classes": _keep_weights("classes.txt", names.encode())} if names else spec


def _input_fields() -> dict[str, object]:
    """Draw what of the input differs from the architecture's, and return it."""
    found: dict[str, object] = {}
    with st.expander("Input, where it is not the architecture's", icon=":material/crop_square:"):
        hint = "The side of a square, or height x width."
        size = st.text_input("Size (px)", key="weights_size", placeholder="224, or 256x192", help=hint).strip()
        for name, label, usual in (
            ("mean", "Mean of the channels", "0.485, 0.456, 0.406"),
            ("std", "Standard deviation", "0.229, 0.224, 0.225"),
        ):
            text = st.text_input(label, key=f"weights_{name}", placeholder=usual).strip()
            if text:
                found[name] = _read_numbers(label, text)
    return found | ({"size": parse_size(size)} if size else {})


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
