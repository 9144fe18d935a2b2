"""Results on disk: maps as NPY and PNG, and a manifest from which the same bits can be computed again."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spade_core.errors import ConfigError
from spade_core.jobs.manager import code_version
from spade_core.models.loading import LoadedModel, load_spec
from spade_core.pictures.figures import figure_png, map_png
from spade_core.pictures.picture import Picture, load_picture
from spade_core.progress import Progress, silent
from spade_core.results.comparison import Analysis, AnalysisConfig, analyse
from spade_core.saliency import METHODS, shared_range
from spade_core.saliency.metrics import pointing_game, trojan_auc
from spade_core.trojan.paste import Paste

SCHEMA_VERSION = 1
_LIBRARIES = ("torch", "torchvision", "timm", "captum", "numpy", "pillow", "scikit-image", "scikit-learn")


@dataclass(frozen=True, eq=False)
class TriggerRecord:
    """What was pasted into the picture (a ``trojan.Paste`` as a dictionary), and its mask at the model's input."""

    paste: Mapping[str, Any]
    mask: np.ndarray


def manifest(analysis: Analysis, source: str | None = None, trigger: TriggerRecord | None = None) -> dict[str, Any]:
    """Return all that describes an analysis, JSON-able.

    Args:
        source: where a replay finds the picture, before a trigger was pasted.
        trigger: what was pasted; every method is then scored against its mask.
    """
    trace, model = analysis.trace, analysis.trace.model
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"name": model.name, "sha256": model.sha256, "spec": model.spec},
        "picture": {
            "name": analysis.picture.name,
            "sha256": analysis.picture.sha256,
            "notes": list(analysis.picture.notes),
            "source": source or analysis.picture.name,
            "trigger": None if trigger is None else dict(trigger.paste),
        },
        "config": analysis.config.to_dict(),
        "trace": trace.config.to_dict(),
        "target": {"index": trace.fidelity.target, "label": trace.fidelity.label},
        "prediction": named(trace.fidelity.dense_top5, model.labels),
        "trace_prediction": named(trace.fidelity.trace_top5, model.labels),
        "fidelity": trace.fidelity.to_dict(),
        "sparsity": trace.report.sparsity,
        "layers": trace.report.to_rows(),
        "methods": {slug: _describe(slug, pair, trigger) for slug, pair in analysis.pairs.items()},
        "refused": dict(analysis.refused),
        "seconds": {"trace": trace.seconds, "total": analysis.seconds},
        "environment": environment(model.device),
    }


def named(top: list[tuple[int, float]], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the most probable classes with their names, JSON-able."""
    return [{"index": index, "label": labels[index], "probability": probability} for index, probability in top]


def _describe(slug: str, pair: Any, trigger: TriggerRecord | None) -> dict[str, Any]:
    sides = {"dense": pair.dense, "spade": pair.spade}
    return {
        "title": METHODS[slug].title,
        "signed": pair.dense.signed,
        "settings": dict(pair.dense.settings),
        "range": list(shared_range(pair.dense.map, pair.spade.map, pair.dense.signed)),
        **{
            side: {
                "file": f"{side}_{slug}.npy",
                "sha256": digest(item.map),
                "seconds": item.seconds,
                "notes": list(item.notes),
                **({} if trigger is None else _scores(item.map, trigger.mask)),
            }
            for side, item in sides.items()
        },
    }


def _scores(values: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    strength = np.abs(values)  # a signed map's evidence against the class is a use of the pixel, too
    return {"trojan_auc": trojan_auc(strength, mask), "pointing_game": pointing_game(strength, mask)}


def digest(array: np.ndarray) -> str:
    """Return the sha256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def environment(device: torch.device) -> dict[str, Any]:
    """Return what may change the bits of a result: device, threads, versions."""
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


def file_names(slug: str) -> tuple[str, ...]:
    """Return the files that :func:`save` writes for a method."""
    return tuple(f"{side}_{slug}.{kind}" for side in ("dense", "spade") for kind in ("npy", "png"))


def bundle(analysis: Analysis, source: str | None = None, trigger: TriggerRecord | None = None) -> dict[str, bytes]:
    """Return all files of an analysis: manifest, arrays, map pictures, one figure of all methods, a trigger's mask."""
    described = manifest(analysis, source, trigger)
    files = {} if trigger is None else {"mask.npy": npy_bytes(trigger.mask)}
    rows = []
    for slug, pair in analysis.pairs.items():
        limits = tuple(described["methods"][slug]["range"])
        for side, item in (("dense", pair.dense), ("spade", pair.spade)):
            files[f"{side}_{slug}.npy"] = npy_bytes(item.map)
            files[f"{side}_{slug}.png"] = map_png(item.map, limits, item.signed)
        rows.append((METHODS[slug].title, pair.dense.map, pair.spade.map, limits, pair.dense.signed))
    crop = analysis.trace.model.preprocessing.crop(analysis.picture)
    fidelity = analysis.trace.fidelity
    probabilities = f"dense {fidelity.dense_probability:.2f}, trace {fidelity.trace_probability:.2f}"
    title = f"{analysis.trace.model.name}: {fidelity.label} ({probabilities})"
    files["figure.png"] = figure_png(crop, rows, title)
    files["manifest.json"] = json.dumps(described, indent=2, ensure_ascii=False).encode()
    return files


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
        raise ConfigError(f"The results cannot be written to {folder}: {error.strerror or error}.") from error
    return folder


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


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read and check a manifest.

    Raises:
        ConfigError: the file is absent or no manifest of this schema.
    """
    path = Path(path)
    path = path / "manifest.json" if path.is_dir() else path
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        if described["schema_version"] != SCHEMA_VERSION:
            raise ConfigError(f"{path} has schema {described['schema_version']}; this version reads {SCHEMA_VERSION}.")
        described["config"], described["model"]["spec"], described["picture"]["source"]
        described["methods"] if described.get("kind") is None else described["images"]
    except OSError as error:
        raise ConfigError(f"The manifest {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not a manifest written by SPADE Studio.") from error
    return described


def replay(
    path: str | Path, *, image: str | Path | None = None, device: str = "auto", progress: Progress = silent
) -> tuple[Analysis, Comparison]:
    """Compute the analysis of a manifest again, with its thread count, and compare the maps bit by bit.

    Args:
        path: the manifest or its folder.
        image: where the picture lies now, if not where the manifest says.
        device: as recorded with ``auto`` where that device exists.

    Raises:
        ConfigError: the manifest, the picture or the weights are not those of the record.
    """
    described = read_manifest(path)
    with reopened(described, image=image, device=device) as (model, picture):
        analysis = analyse(model, picture, AnalysisConfig.from_dict(described["config"]), progress=progress)
    return analysis, _compare(analysis, described, Path(path))


@contextlib.contextmanager
def reopened(
    described: Mapping[str, Any], *, image: str | Path | None, device: str
) -> Iterator[tuple[LoadedModel, Picture]]:
    """Give the model and the picture of a manifest, its trigger pasted, and compute with its thread count inside.

    Raises:
        ConfigError: the picture or the weights are not those of the record.
    """
    clean = load_picture(image or described["picture"]["source"])
    recorded = described["environment"]["device_type"]
    with threads(described["environment"]["threads"]):
        model = load_spec(described["model"]["spec"], device=recorded if device == "auto" else device)
        if model.sha256 != described["model"]["sha256"]:
            raise ConfigError(f"The weights of {model.name} are not those of the manifest: their sha256 differs.")
        pasted = described["picture"].get("trigger")
        picture = Paste.from_dict(pasted).apply(clean, model)[0] if pasted else clean
        if picture.sha256 != described["picture"]["sha256"]:
            raise ConfigError(
                f"The picture {clean.name} is not the one of the manifest: its bytes differ; give it by --image."
            )
        yield model, picture


def _compare(analysis: Analysis, described: Mapping[str, Any], path: Path) -> Comparison:
    folder = path if path.is_dir() else path.parent
    found = Comparison()
    for slug, pair in analysis.pairs.items():
        for side, item in (("dense", pair.dense), ("spade", pair.spade)):
            entry = described["methods"][slug][side]
            if digest(item.map) == entry["sha256"]:
                found[f"{side}_{slug}"] = 0.0
            else:
                file = folder / entry["file"]
                before = np.load(file, allow_pickle=False) if file.is_file() else np.full_like(item.map, np.nan)
                found[f"{side}_{slug}"] = float(np.abs(before - item.map).max()) or float("nan")
    return found
