"""What strangers write at the doors that parse: links, designs, ids, answers, frames, texts, files of all kinds.

    python -m benchmarks.fuzz --inputs 1000000 --resume fuzz.json

Each input is a good one of its door, changed in some places: cut, doubled, spliced with another, or with a hostile
piece put in. A door may refuse it by a sentence (``SpadeError``); anything else that is raised is printed with its
input, by kind, and the command ends with 1; so does an input that takes longer than ``PATIENCE``. An input follows from
the seed and its number alone: a run that was stopped goes on where ``--resume`` has noted it, and its numbers find any
input again. Frames are those of the pages' websocket, with what the study reads of them.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import random
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import torch
from google.protobuf.message import DecodeError
from PIL import Image
from safetensors.torch import save
from starlette.datastructures import Headers
from streamlit.proto.BackMsg_pb2 import BackMsg

from spade_core.errors import SpadeError
from spade_core.files import write_whole
from spade_core.models.labels import read_labels
from spade_core.models.weights import read_state
from spade_core.pictures.picture import load_picture
from spade_core.results.manifest import SCHEMA_VERSION, read_manifest
from spade_core.study.admission.devices import Device, is_mobile
from spade_core.study.admission.links import Signer, arriving_id, typed_id
from spade_core.study.design.design import parse_design
from spade_core.study.design.questions import Text, read_replies
from spade_core.study.design.schedule import seeded
from spade_core.study.running.answers import Answer
from spade_core.study.running.person import return_code
from spade_core.study.stimuli.stimulus_set import FORMAT, MANIFEST, Item, load_set
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
NOTED_EVERY = 2_000  # inputs
WARM = 20_000  # inputs until caches are full: memory is compared from there on
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
questions: {extra: [{name: helpful, kind: rating, text: How much?, low: 1, high: 7}]}
texts: {consent: text, instructions: [one], comprehension: [{question: q, options: [a, b], correct: 1}]}
codes: {complete: A1, declined: B1, screened_out: C1, failed: D1, time_over: E1, return_url: "https://x.example/{code}"}
analysis: {thresholds: {total_minutes: [2, 120]}, exclusions: [attention]}
"""


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
        "design": (DESIGN, parse_design),
        "id": ("PID 1", lambda text: typed_id(text, "typed")),
        "answer": (answer, lambda text: Answer.read(_typed(_pairs(text)))),
        "return code": ("0123 4567 89ab cdef 0123 4567 89ab cdef", return_code),
        **_route(),
        **_frames(),
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


def _frames() -> dict[str, tuple[str, Door]]:
    """Return the doors of the websocket: a frame as the characters of Latin-1, and what components say in it."""
    frame = BackMsg()
    frame.rerun_script.query_string, frame.rerun_script.page_name = "study=key&PROLIFIC_PID=P1", "survey"
    size = {"size": {"width": 1280, "height": 900, "dpr": 1.5, "browser": "Mozilla/5.0", "touch_points": 0}}
    answer = {"answer": {"trial_id": "0" * 32, "choice": "region_1", "confidence": 2, "focus_losses": [{"ms": 1.5}]}}
    for name, value in (("window", size), ("trial", answer)):
        frame.rerun_script.widget_states.widgets.add(id=name, json_value=json.dumps(value))
    asked = (Text(name="why", text="Why?", kind="text", max_length=40),)
    return {
        "frame": (frame.SerializeToString().decode("latin-1"), lambda text: _read_frame(_bytes(text))),
        "said": (json.dumps(size | answer), _read_said),
        "free text": ("because\nof its ears", lambda text: read_replies(asked, {"why": text})),
    }


def _read_frame(data: bytes) -> None:
    frame = BackMsg()
    try:
        frame.ParseFromString(data)
    except DecodeError:  # which closes the connection
        return
    Choice.from_query(_pairs(frame.rerun_script.query_string))
    for widget in frame.rerun_script.widget_states.widgets:
        _read_said(widget.json_value)


def _read_said(text: str) -> None:
    """Read what the components of the participants' page say."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):  # which Streamlit reads for the page
        return
    if not isinstance(said, dict):
        return
    size, answer = said.get("size"), said.get("answer")
    if isinstance(size, dict):
        is_mobile(Device.model_validate(size))
    if isinstance(answer, dict):
        Answer.read(answer)


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
        "stimuli": (_stimuli(), text_file(MANIFEST, lambda file: load_set(file.parent))),
        "safetensors": (save(tensors).decode("latin-1"), byte_file("weights.safetensors", read_state)),
        "torch": (pickled.getvalue().decode("latin-1"), byte_file("weights.pt", read_state)),
    }


def _stimuli() -> str:
    """Return the manifest of a stimulus set, whose files are not there."""
    files = {"picture": "p.webp", "dense": "d.webp", "spade": "s.webp"}
    regions = {"reference": (0.1, 0.1, 0.25), "other": (0.6, 0.6, 0.25)}
    item = Item("a", "main", "dog", "net:1", "dog", "net", "scorecam", True, files, regions, {"central": "other"})
    content = {"format": FORMAT, "demo": False, "files": dict.fromkeys(files.values(), "0"), "items": [asdict(item)]}
    return json.dumps(content)


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


@dataclass
class Run:
    """How far the fuzz of a seed has come.

    Attributes:
        seed: that all inputs follow from; done: how many inputs there were.
        tried: inputs of each door; found: one input of each kind of exception that no door may raise.
        warm, peak: most memory of the process after ``WARM`` of its inputs and at its end, MiB.
    """

    seed: int
    done: int = 0
    tried: dict[str, int] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    warm: float = 0.0
    peak: float = 0.0

    def go_on(self, folder: Path, *, inputs: int, note: Callable[[], object] = lambda: None) -> None:
        """Try inputs until there were so many in all; ``note`` is called now and then."""
        known = list(doors(folder).items())
        first = self.done
        while self.done < inputs:
            name, (good, door) = known[self.done % len(known)]
            text = changed(good, seeded(f"fuzz/{self.seed}/{self.done}"))
            if (fault := _fault(door, text)) is not None:
                self.found.setdefault(f"{name}: {fault}", f"input {self.done}: {text[:300]!r}")
            self.tried[name] = self.tried.get(name, 0) + 1
            self.done += 1
            if self.done == first + WARM:
                self.warm = _most_memory()
            if self.done % NOTED_EVERY == 0:
                self.peak = _most_memory()
                note()


def _most_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
    """Try so many inputs, going on where an earlier run was stopped, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="in all (default: %(default)s)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="note there how far it has come, and go on from it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run, file = Run(options.seed), options.resume
    if file is not None and file.exists():
        run = Run(**json.loads(file.read_text(encoding="utf-8")))
        if run.seed != options.seed:
            parser.error(f"{file} is of seed {run.seed}: give that one, or another file")

    def note() -> None:
        if file is not None:
            write_whole(file, json.dumps(asdict(run)).encode())

    with tempfile.TemporaryDirectory() as folder:
        run.go_on(Path(folder), inputs=options.inputs, note=note)
    note()
    for name, count in run.tried.items():
        print(f"{name:>14} {count:>9,} inputs")
    print(f"{'all':>14} {run.done:>9,} inputs, {len(run.found)} kinds of fault; memory {_memory(run)}")
    for kind, text in run.found.items():
        print(f"{kind}\n    {text}")
    return int(bool(run.found))


def _memory(run: Run) -> str:
    if not run.warm:
        return f"is compared from input {WARM:,} on"
    return f"{run.warm:.0f} MiB after {WARM:,} inputs, {run.peak:.0f} MiB at most"


if __name__ == "__main__":
    sys.exit(main())
