"""Results on disk: maps as NPY and PNG, and a manifest from which the same bits can be computed again."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
import platform
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from spade_core.errors import ConfigError
from spade_core.models.loaded import LoadedModel, ModelRecord
from spade_core.models.loading import load_spec
from spade_core.models.registry import TROJAN_MODEL
from spade_core.pictures.picture import Picture, load_picture
from spade_core.pruning.sparsity import DRAWING_METHOD, table
from spade_core.pruning.trace import Trace
from spade_core.results.record import check_record
from spade_core.trojan.triggers import Paste
from spade_core.versions import code_version

SCHEMA_VERSION = 1
_LIBRARIES = ("torch", "torchvision", "timm", "captum", "numpy", "pillow", "scikit-image", "scikit-learn")


class PictureRecord(TypedDict):
    """A manifest's picture.

    ``source``: where a replay finds it, before the trigger (a ``Paste``) was pasted; ``frame``: which part of it the
    model sees (the text of a ``Frame``); ``seen``: what is to be known of that.
    """

    name: str
    sha256: str
    notes: list[str]
    source: str
    frame: str
    seen: list[str]
    trigger: dict[str, Any] | None


class Environment(TypedDict):
    """What may change the bits of a result: device, threads, versions."""

    device: str
    device_type: str
    threads: int
    processor: str
    python: str
    code_version: str
    libraries: dict[str, str]


class Manifest(TypedDict, total=False):
    """What a replay reads; the rest is for people, and the kind's own."""

    schema_version: int
    kind: str
    model: ModelRecord
    picture: PictureRecord
    config: dict[str, Any]
    trace: dict[str, Any]
    layers: list[dict[str, Any]]
    traces: list[dict[str, Any]]
    methods: dict[str, dict[str, Any]]
    images: dict[str, dict[str, Any]]
    environment: Environment


def manifest(model: LoadedModel, own: Mapping[str, object], kind: str | None = None) -> dict[str, object]:
    """Return a manifest, JSON-able: what each begins with, what is the kind's ``own``, and where it was computed."""
    begin = {"schema_version": SCHEMA_VERSION} | ({} if kind is None else {"kind": kind})
    return {**begin, "model": model.to_dict(), **own, "environment": environment(model.device)}


def manifest_bytes(described: object) -> bytes:
    """Return a manifest as the file has it; of a file name that is no text the odd bytes become JSON's escapes."""
    return json.dumps(described, indent=2, ensure_ascii=False).encode(errors="backslashreplace")


def picture_record(
    model: LoadedModel, picture: Picture, source: str | None, trigger: Mapping[str, object] | None
) -> PictureRecord:
    """Return what a manifest says of a picture; without a ``source`` that is its name."""
    return {
        "name": picture.name,
        "sha256": picture.sha256,
        "notes": list(picture.notes),
        "source": source or picture.name,
        "frame": str(picture.frame),
        "seen": list(model.preprocessing.told(picture)),
        "trigger": None if trigger is None else dict(trigger),
    }


def outcome(trace: Trace) -> dict[str, object]:
    """Return what a manifest says of a trace: the explained class, both predictions, the fidelity, the sparsity."""
    fidelity = trace.fidelity
    return {
        "target": {"index": fidelity.target, "label": fidelity.label},
        **predictions(trace),
        "fidelity": fidelity.to_dict(),
        "sparsity": trace.report.sparsity,
    }


def predictions(trace: Trace) -> dict[str, object]:
    """Return the most probable classes of the dense model and of the trace, with their names."""
    tops = {"prediction": trace.fidelity.dense_top5, "trace_prediction": trace.fidelity.trace_top5}
    labels = trace.model.labels
    return {
        key: [{"index": index, "label": labels[index], "probability": probability} for index, probability in top]
        for key, top in tops.items()
    }


def digest(array: np.ndarray) -> str:
    """Return the sha256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def environment(device: torch.device) -> Environment:
    """Return where this process computes on ``device``."""
    return {
        "device": device_name(device),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "code_version": code_version(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def device_name(device: torch.device) -> str:
    """Return what people call the device: the GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def npy_bytes(array: np.ndarray) -> bytes:
    """Return an array as the bytes of an ``.npy`` file."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def save(files: Mapping[str, bytes], folder: str | Path) -> Path:
    """Write the files of :func:`bundle` into ``folder``, the manifest last, so that its presence means completeness.

    Raises:
        ConfigError: the folder cannot be made or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in sorted(files, key=lambda item: item == "manifest.json"):
            (folder / name).write_bytes(files[name])
    except OSError as error:
        raise ConfigError(_unwritable(folder, error)) from error
    return folder


def ready(folder: str | Path) -> Path:
    """Look whether a folder of results can be written, before what takes long is computed; nothing is left there.

    Raises:
        ConfigError: it cannot be made or written.
    """
    folder = Path(folder)
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise ConfigError(_unwritable(folder, error)) from error
    return folder


def _unwritable(folder: Path, error: OSError) -> str:
    reason = "it is a file" if folder.is_file() else error.strerror or error
    return f"The results cannot be written to {folder} ({reason}): give another folder, or make room."


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with ``count`` torch threads inside the block: the bits of a Cholesky factor depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Comparison(dict[str, float]):
    """File stem -> largest absolute difference of the replayed map; all 0 when the bits are the same."""

    @property
    def identical(self) -> bool:
        """Whether every map is the same bit for bit."""
        return not any(self.values())


def read_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        ConfigError: the file is absent or no manifest of this schema.
    """
    path = Path(path)
    path = path / "manifest.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
        described = json.loads(text)
        if described["schema_version"] != SCHEMA_VERSION:
            raise ConfigError(
                f"{path} has schema {described['schema_version']}, and this version reads {SCHEMA_VERSION}: "
                "use the version that wrote it."
            )
        check_record(text, path)
        described["methods"] if described.get("kind") is None else described["images"]
        described["config"]["trace"] |= _renamed(described) or _own_table(described) or _positions(described)
        _keep_steps(described)
    except OSError as error:
        raise ConfigError(f"The manifest {path} cannot be read ({error.strerror or error}): check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{path} is not a manifest written by SPADE Studio: give the manifest.json of its results."
        ) from error
    return described


def _renamed(described: Manifest) -> dict[str, object]:
    """Return what names the ratios of a trace today, where the preset of its name has others than it had.

    Version 0.1's ``default`` is today's ``unweighted``; so was its ``drawing``, but 50 % for the backdoored model.
    """
    made, asked = described["trace"], described["config"]["trace"]
    if made["preset"] == "default" and "weighting" not in made:
        return {"preset": "unweighted"}
    if made["preset"] != "drawing" or made["views"] == asked.get("views", DRAWING_METHOD["views"]):
        return {}
    tuned = table(TROJAN_MODEL) if described["model"]["name"] == TROJAN_MODEL else None
    if tuned is None:
        return {"preset": "unweighted"}
    return {"preset": "custom", "stages": dict.fromkeys([*tuned["stages"], "depthwise"], 0.5)}


def _own_table(described: Manifest) -> dict[str, object]:
    """Return the ratios that a model's own table had when a trace was made by it, where it has others today."""
    made, asked = described["trace"], described["config"]["trace"]
    tuned = table(described["model"]["name"])
    if tuned is None or made["preset"] != "default" or asked.get("table"):
        return {}
    today = tuned.get("methods", {})
    if made.get("table"):  # what a table with ratios by method leaves
        by_method = {slug: one["stages"] for one in described["traces"] for slug in one["methods"]}
        now = {slug: today.get(slug, tuned["stages"]) for slug in by_method}
        options = made["table"]["options"]
        if options == tuned["options"] and _pruned(by_method) == _pruned(now):
            return {}
        rest = {"depthwise": made["table"]["depthwise"], "options": options, "methods": by_method}
        return {"table": {"chosen": "", "stages": made["table"]["stages"], **rest}}
    stages = {row["stage"]: row["requested"] for row in described.get("layers", []) if row["requested"]}
    same = all(made.get(name) == value for name, value in tuned["options"].items() if name not in asked)
    alike = same and {"": stages} == _pruned({"": tuned["stages"]}) and not ("methods" in described and today)
    if not stages or alike:
        return {}
    options = {name: made[name] for name in tuned["options"]}
    return {"table": {"chosen": "", "stages": stages, "depthwise": tuned["depthwise"], "options": options}}


def _pruned(tables: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return tables without the stages that stay dense."""
    return {name: {stage: ratio for stage, ratio in one.items() if ratio} for name, one in tables.items()}


def _positions(described: Manifest) -> dict[str, object]:
    """Return over how many positions the preset ``paper`` took its moments when it did not take all."""
    made, asked = described["trace"], described["config"]["trace"]
    sampled = made["preset"] == "paper" and "positions" not in asked and made.get("positions")
    return {"positions": made["positions"]} if sampled else {}


def _keep_steps(described: Manifest) -> None:
    """Let integrated gradients take the steps that it took before it chose their number itself."""
    found = described["methods"].get("integrated_gradients") if "methods" in described else None
    if found is not None and "most_steps" not in found["settings"]:
        options = described["config"].setdefault("options", {}).setdefault("integrated_gradients", {})
        options["most_steps"] = 1


@contextlib.contextmanager
def reopened(described: Manifest, *, image: str | Path | None, device: str) -> Iterator[tuple[LoadedModel, Picture]]:
    """Give the model and the picture of a manifest, its trigger pasted, and compute with its thread count inside.

    Raises:
        ConfigError: the picture or the weights are not those of the record.
    """
    clean = load_picture(image or described["picture"]["source"], frame=described["picture"].get("frame"))
    recorded = described["environment"]["device_type"]
    with threads(described["environment"]["threads"]):
        model = load_spec(described["model"]["spec"], device=recorded if device == "auto" else device)
        if model.sha256 != described["model"]["sha256"]:
            raise ConfigError(
                f"The weights of {model.name} are not those of the manifest (their sha256 differs): "
                "put the file back that it was made with."
            )
        pasted = described["picture"].get("trigger")
        picture = Paste.from_dict(pasted).apply(clean, model)[0] if pasted else clean
        if picture.sha256 != described["picture"]["sha256"]:
            sentence = "is not the one of the manifest: its bytes differ; give it by --image."
            raise ConfigError(f"The picture {clean.name} {sentence}")
        yield model, picture
