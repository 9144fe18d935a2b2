"""The files of a finished job in a tenth of their bytes, for the gallery, and back.

What is kept is for looking: maps in 127 levels, pictures as WebP with losses. The manifest keeps the
sha256 of the maps as they were computed, and a replay computes them in full.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from spade_core.pictures.scales import top_of

LEVELS = 63  # of a map, from 0 to its top, and as many beyond; what is stronger than twice its top is cut
QUALITY = 75  # of WebP, of 100
CROP, MANIFEST, ARRAYS = "crop.npy", "manifest.json", "arrays.npz"
STEP = ".step"
TOO_LARGE = ".bits"  # of a trace's maps: every weight of a large layer
NOTE = (
    "This is a case of the gallery: it was computed before, and its maps and pictures are kept with small losses. Run "
    "it, and they are computed here in full."
)


def pack(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return a job's files in few bytes; what others give again, and traces, are left out."""
    arrays = {name: _array(data) for name, data in files.items() if name.endswith(".npy") and name != CROP}
    coarse = {part: kept for name, array in arrays.items() for part, kept in _coarse(name, array).items()}
    kept = {ARRAYS: _npz(coarse)} if coarse else {}
    if CROP in files:
        kept["crop.webp"] = webp(_array(files[CROP]))
    again = {"figure.png", "picture.png", *(name.replace(".npy", ".png") for name in arrays)}
    for name, data in files.items():
        if name.endswith(".png") and name not in again:
            kept[name.replace(".png", ".webp")] = webp(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        elif name.endswith(".json"):
            plain = json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False).encode()
            kept |= {name: plain} if name == MANIFEST else {f"{name}.gz": gzip.compress(plain, 9, mtime=0)}
        elif name.endswith(".npz"):
            kept[name] = _npz({part: array for part, array in _read(data).items() if not part.endswith(TOO_LARGE)})
    return kept


def unpack(kept: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of a job as far as they were kept; its manifest says so in its notes."""
    files = {name: data for name, data in kept.items() if not name.endswith((".webp", ".gz")) and name != ARRAYS}
    if MANIFEST in files:
        files[MANIFEST] = _noted(files[MANIFEST])
    for name, data in kept.items():
        if name.endswith(".gz"):
            files[name.removesuffix(".gz")] = gzip.decompress(data)
        elif name.endswith(".webp"):
            pixels = np.asarray(Image.open(io.BytesIO(data)))
            files[name.replace(".webp", ".png")] = _png(pixels)
            if name == "crop.webp":
                files |= {CROP: _npy(pixels), "picture.png": files.pop("crop.png")}
    if ARRAYS in kept:
        files |= {name: _npy(array) for name, array in _full(_read(kept[ARRAYS])).items()}
    return files


def webp(pixels: np.ndarray, quality: int = QUALITY) -> bytes:
    """Return uint8 ``(height, width, 3)`` as the bytes of a WebP file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", quality=quality, method=6)
    return out.getvalue()


def _noted(manifest: bytes) -> bytes:
    described = json.loads(manifest)
    described["notes"] = [*described.get("notes", []), NOTE]
    for image in described.get("images", {}).values():
        image["notes"] = [*image["notes"], NOTE]
    return json.dumps(described).encode()


def _coarse(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """Return a map as int8 with the size of a step beside it; any other array as it is."""
    if array.dtype.kind != "f":
        return {name: array}
    step = top_of(array) / LEVELS
    return {name: np.clip(np.round(array / step), -127, 127).astype(np.int8), name + STEP: np.array(step, np.float32)}


def _full(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what :func:`_coarse` was given, maps as float32."""
    steps = {name: float(arrays[name + STEP]) for name in arrays if name + STEP in arrays}
    plain = {name: array for name, array in arrays.items() if not name.endswith(STEP)}
    return {name: array.astype(np.float32) * steps[name] if name in steps else array for name, array in plain.items()}


def _array(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _read(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _npz(arrays: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()
