"""The doors that read files: pictures, archives, class files, manifests, stimuli, weights, evidence."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save

from spade_core.evaluation.configuration import OUTCOMES, Configuration
from spade_core.evaluation.records import HEADER, read_results
from spade_core.models.labels import read_labels
from spade_core.models.weights import read_state
from spade_core.pictures.archive import Limits, unpacked
from spade_core.pictures.picture import load_picture
from spade_core.results.manifest import SCHEMA_VERSION, read_manifest
from spade_core.study.stimuli.stimulus_set import FORMAT, MANIFEST, Item, load_set

Door = Callable[[str], object]
"""Reads an input; the bytes of a file travel as the characters of Latin-1."""
FORMS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
LIMITS = Limits(pictures=10, size=2**20)


def bytes_of(text: str) -> bytes:
    """Return the bytes that travel as a text's characters; what is no byte is left out."""
    return text.encode("latin-1", "ignore")


def text_of(data: bytes) -> str:
    """Return bytes as characters."""
    return data.decode("latin-1")


def text_file(file: Path, read: Callable[[Path], object]) -> Door:
    """Return a door that reads a file of text."""
    return lambda text: read(_written(file, text.encode("utf-8", "surrogatepass")))


def byte_file(file: Path, read: Callable[[Path], object]) -> Door:
    """Return a door that reads a file of bytes."""
    return lambda text: read(_written(file, bytes_of(text)))


def _written(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file


def picture_doors() -> dict[str, tuple[str, Door]]:
    """Return the doors of pictures, and of an archive of them."""
    found: dict[str, tuple[str, Door]] = {
        form: (text_of(_picture(form)), lambda text: load_picture(bytes_of(text), name="x")) for form in FORMS
    }
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        for name in ("a/b.png", "a/c.png"):
            archive.writestr(name, _picture("PNG"))
    return {**found, "archive": (text_of(packed.getvalue()), _read_archive)}


def _picture(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, form)
    return data.getvalue()


def _read_archive(text: str) -> None:
    for name, data in unpacked(io.BytesIO(bytes_of(text)), LIMITS):
        load_picture(data, name=name)


def file_doors(folder: Path) -> dict[str, tuple[str, Door]]:
    """Return the doors of class files, manifests, stimuli, weights and evidence."""
    tensors = {"weight": torch.zeros(2, 3)}
    torch.save(tensors, pickled := io.BytesIO())
    return {
        "classes.txt": ("a\nb\n1 c\n", text_file(folder / "classes.txt", read_labels)),
        "classes.csv": ("id,name\n0,a\n1,b\n", text_file(folder / "classes.csv", read_labels)),
        "classes.json": ('{"0": ["n0", "a"], "1": "b"}', text_file(folder / "classes.json", read_labels)),
        "manifest": (json.dumps(_manifest()), text_file(folder / "manifest.json", read_manifest)),
        "stimuli": (_stimuli(folder), text_file(folder / MANIFEST, _read_stimuli)),
        "safetensors": (text_of(save(tensors)), byte_file(folder / "weights.safetensors", read_state)),
        "torch": (text_of(pickled.getvalue()), byte_file(folder / "weights.pt", read_state)),
        "evidence": _evidence(),
    }


def _manifest() -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION, "model": {"name": "m", "sha256": "0", "spec": {"name": "m"}},
        "picture": {"source": "bundled:dog", "sha256": "0", "trigger": {"trigger": "heart", "position": [1, 2]}},
        "config": {"methods": ["lime"], "trace": {"views": 2}, "options": {}}, "methods": {},
        "trace": {"preset": "default", "weighting": "none"}, "environment": {"threads": 2, "device_type": "cpu"},
    }  # fmt: skip


def _stimuli(folder: Path) -> str:
    """Write the files of a stimulus set and return its manifest."""
    files = {"picture": "p.webp", "dense": "d.webp", "spade": "s.webp"}
    regions = {"reference": (0.1, 0.1, 0.25), "other": (0.6, 0.6, 0.25)}
    item = Item("a", "main", "dog", "net:1", "dog", "net", "scorecam", True, files, regions, {"central": "other"})
    for name in files.values():
        (folder / name).write_bytes(b"x")
    hashes = dict.fromkeys(files.values(), sha256(b"x").hexdigest())
    return json.dumps({"format": FORMAT, "demo": False, "report": {}, "files": hashes, "items": [asdict(item)]})


def _read_stimuli(file: Path) -> object:
    found = load_set(file.parent)
    return found.warning, found.conditions()


def _evidence() -> tuple[str, Door]:
    """Return the door of a ``results.parquet``: what its header says, over one picture's rows."""
    configuration = Configuration(benchmark="faithfulness", arms=("dense", "default"), methods=("saliency",))
    header = {**asdict(configuration), "model": "m", "weights": "0", "device": "cpu", "pictures": "0", "version": "1"}
    numbers = {name: [0.5, 0.5] for name in (*configuration.kind.metrics, *OUTCOMES)}
    rows = pa.table({"picture": ["a", "a"], "sha256": ["0", "0"], "trigger": ["", ""], **numbers})

    def read(text: str) -> object:
        pq.write_table(rows.replace_schema_metadata({HEADER: text.encode("utf-8", "ignore")}), data := io.BytesIO())
        return read_results(io.BytesIO(data.getvalue()))

    return json.dumps(header), read
