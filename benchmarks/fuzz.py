"""What strangers write at the doors that parse: links, personal links, designs, ids and answers.

    python -m benchmarks.fuzz --seconds 60 --seed 0

Each input is a good one of its door, changed in some places: cut, doubled, spliced with another, or with a hostile
piece put in. A door may refuse it by a sentence (``SpadeError``); anything else that is raised is printed with its
input, by kind, and the command ends with 1. Inputs follow from the seed. Model files, pictures, manifests and websocket
frames are not among the doors.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from spade_core.errors import SpadeError
from spade_core.study.admission.links import Signer, arriving_id, typed_id
from spade_core.study.design.design import TEMPLATE, parse_design
from spade_core.study.design.schedule import seeded
from spade_core.study.running.answers import Answer
from spade_core.ui.common.link import Choice

logger = logging.getLogger(__name__)

HOSTILE = (
    *("²", "٣", "-", "--1", "1e999", "nan", "9" * 5000, "[" * 900, "{" * 900, "\ud800", "\0", "\u202e", ""),
    *("=HYPERLINK(", "2001-99-99", "!!float x", "!!python/object:os.system x", "&a [*a]", "? ", "- - -", ": ", "'"),
    *('"', "\t", "\n", "%", "heart:50:20x30:1", "..", "/", "x" * 200, "1:2", "x:y:z", "*a", "<<: 1", "0x1F", "1_000"),
    *(".inf", "~", "true"),
)
Door = Callable[[str], object]


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
    }


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
    try:
        door(text)
    except SpadeError:
        return None
    except Exception as error:
        logger.exception("a door failed")
        return f"{type(error).__name__}: {str(error)[:24]}"
    return None


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
