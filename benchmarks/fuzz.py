"""What strangers write at the doors that parse: links, designs, ids, answers, messages of trials, files of all kinds.

    python -m benchmarks.fuzz --seconds 60 --seed 0

Each input is a good one of its door, changed in some places: cut, doubled, spliced with another, or with a hostile
piece put in. A door may refuse it by a sentence (``SpadeError``); anything else that is raised is printed with its
input, by kind, and the command ends with 1; so does an input that takes longer than ``PATIENCE``. Inputs follow from
the seed. Files are pictures, class names, weights and manifests. Websocket frames are not among the doors.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from starlette.datastructures import Headers

from spade_core.errors import SpadeError
from spade_core.models.labels import read_labels
from spade_core.models.weights import read_state
from spade_core.pictures.picture import load_picture
from spade_core.results.manifest import SCHEMA_VERSION, read_manifest
from spade_core.study.admission.links import Signer, arriving_id, typed_id
from spade_core.study.design.design import TEMPLATE, parse_design
from spade_core.study.design.schedule import seeded
from spade_core.study.running.answers import Answer
from spade_core.ui.common.link import Choice
from spade_core.ui.participant.route import Note, is_same_origin

logger = logging.getLogger(__name__)

HOSTILE = (
    *("²", "٣", "-", "--1", "1e999", "nan", "9" * 5000, "[" * 900, "{" * 900, "\ud800", "\0", "\u202e", ""),
    *("=HYPERLINK(", "2001-99-99", "!!float x", "!!python/object:os.system x", "&a [*a]", "? ", "- - -", ": ", "'"),
    *('"', "\t", "\n", "%", "heart:50:20x30:1", "..", "/", "x" * 200, "1:2", "x:y:z", "*a", "<<: 1", "0x1F", "1_000"),
    *(".inf", "~", "true"),
)
Door = Callable[[str], object]
PATIENCE = 5.0  # processor seconds of one input


def doors(folder: Path) -> dict[str, tuple[str, Door]]:
    """Return each door by its name: a good input, and what reads one."""
    signer = Signer(folder / "secrets")
    query = "model=resnet18&picture=bundled:cat&target=3&stages=layer1:0.5&views=8&seed=7&trigger=heart:50:20x30:1"
    more = "&layer=conv_head&channel=7&position=2x6&steps=8&images=2&methods=lime&sparsity=0.3&other=bundled:dog"
    personal = urlsplit(signer.personal("http://x", "key", "P1", 2e9)).query
    answer = "choice=region_1&confidence=2&rt_ms=900&rt_source=browser&timed_out=&onset_utc=2026-01-01T00:00:00Z"
    return {
        "link": (query + more, lambda text: Choice.from_query(_pairs(text))),
        "personal link": (personal, lambda text: arriving_id(_pairs(text), "key", "open", signer, 1.0)),
        "design": (TEMPLATE.read_text(encoding="utf-8"), parse_design),
        "id": ("PID 1", lambda text: typed_id(text, "typed")),
        "answer": (answer, lambda text: Answer.read(_typed(_pairs(text)))),
        **_route(),
        **_pictures(),
        **_files(folder),
    }


def _route() -> dict[str, tuple[str, Door]]:
    """Return the doors of the route of the trials: what is sent to it, and the header that says from where."""
    answer = {"trial_id": "0" * 32, "choice": "region_1", "rt_ms": 900.5, "extra": {"why": "x"}, "resizes": [{"ms": 1}]}
    note = {"study": "key", "token": "0" * 32, "tab": "0" * 16, "answer": answer, "read": None, "held": ["0" * 32]}

    def read(text: str) -> object:
        found = Note.of(text.encode("utf-8", "surrogatepass"))
        return None if found is None else Answer.read(found.answer or {})

    def origin(text: str) -> bool:
        value = text.encode("utf-8", "surrogatepass")
        return is_same_origin(Headers(raw=[(b"origin", value), (b"host", b"localhost:8501")]))

    return {"route": (json.dumps(note), read), "origin": ("http://localhost:8501", origin)}


def _pictures() -> dict[str, tuple[str, Door]]:
    """Return the doors of pictures; their bytes travel as the characters of Latin-1."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    found: dict[str, tuple[str, Door]] = {}
    for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"):
        Image.fromarray(pixels).save(data := io.BytesIO(), form)
        found[form] = (data.getvalue().decode("latin-1"), lambda text: load_picture(_bytes(text), name="x"))
    return found


def _files(folder: Path) -> dict[str, tuple[str, Door]]:
    """Return the doors of files that hold text, or bytes as the characters of Latin-1."""
    tensors = {"weight": torch.zeros(2, 3)}
    torch.save(tensors, pickled := io.BytesIO())
    manifest = {
        "schema_version": SCHEMA_VERSION, "model": {"name": "m", "sha256": "0", "spec": {"name": "m"}},
        "picture": {"source": "bundled:dog", "sha256": "0", "trigger": {"trigger": "heart", "position": [1, 2]}},
        "config": {"methods": ["lime"], "trace": {"views": 2}, "options": {}}, "methods": {},
        "trace": {"preset": "default", "weighting": "none"}, "environment": {"threads": 2, "device_type": "cpu"},
    }  # fmt: skip

    def text_file(name: str, read: Callable[[Path], object]) -> Door:
        return lambda text: read(_written(folder / name, text.encode("utf-8", "surrogatepass")))

    def byte_file(name: str, read: Callable[[Path], object]) -> Door:
        return lambda text: read(_written(folder / name, _bytes(text)))

    return {
        "classes.txt": ("a\nb\n1 c\n", text_file("classes.txt", read_labels)),
        "classes.csv": ("id,name\n0,a\n1,b\n", text_file("classes.csv", read_labels)),
        "classes.json": ('{"0": ["n0", "a"], "1": "b"}', text_file("classes.json", read_labels)),
        "manifest": (json.dumps(manifest), text_file("manifest.json", read_manifest)),
        "safetensors": (save(tensors).decode("latin-1"), byte_file("weights.safetensors", read_state)),
        "torch": (pickled.getvalue().decode("latin-1"), byte_file("weights.pt", read_state)),
    }


def _written(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "ignore")


def _pairs(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))


def _typed(pairs: Mapping[str, str]) -> dict[str, object]:
    """Return values as JSON would give them."""
    found: dict[str, object] = {}
    for name, value in pairs.items():
        try:
            found[name] = float(value) if "." in value or "n" in value[:1] else int(value)
        except ValueError:
            found[name] = value
    return found


def changed(good: str, rng: random.Random) -> str:
    """Return an input changed in one to four places."""
    text = good
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((0, 1, 3, 20)))
        piece = rng.choice((*HOSTILE, text[start:stop] * 2, good[rng.randrange(len(good)) :][:30]))
        text = text[:start] + piece + text[stop:]
    return text


def attack(folder: Path, seconds: float, seed: int) -> tuple[Counter[str], dict[str, str]]:
    """Return how many inputs each door got, and one input of each kind of exception that no door may raise."""
    rng, tried, found = seeded(f"fuzz/{seed}"), Counter[str](), dict[str, str]()
    known = doors(folder)
    end = time.process_time() + seconds
    while time.process_time() < end:
        for name, (good, door) in known.items():
            text = changed(good, rng)
            tried[name] += 1
            if (fault := _fault(door, text)) is not None:
                found.setdefault(f"{name}: {fault}", text[:300])
    return tried, found


def _fault(door: Door, text: str) -> str | None:
    """Return what a door raises that no door may raise."""
    begun = time.process_time()
    try:
        with warnings.catch_warnings(action="ignore"):  # of the libraries that read pictures
            door(text)
    except SpadeError:
        pass
    except Exception as error:
        logger.exception("a door failed")
        return f"{type(error).__name__}: {str(error)[:24]}"
    took = time.process_time() - begun
    return f"took {took:.1f} s" if took > PATIENCE else None


def main() -> int:
    """Run for a while and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tried, found = attack(Path(folder), options.seconds, options.seed)
    for name, count in tried.items():
        print(f"{name:>14} {count:>9,} inputs")
    for kind, text in found.items():
        print(f"{kind}\n    {text!r}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
