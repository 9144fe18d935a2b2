"""What the browser is told of a run."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Asked, Subject
from spade_core.ui.history import runs

RED, BLUE = (np.full((9, 7, 3), colour, np.uint8) for colour in ((250, 0, 0), (0, 0, 250)))
CHOICE = Choice(picture="own:" + 22 * "a", sparsity=0.3, methods=("lrp",))


@pytest.fixture
def noted(monkeypatch):
    """Return what the browser gets."""
    found = []
    monkeypatch.setattr(runs, "_component", lambda: lambda key, data: found.append(data))
    return found


def note(*, clicked=True, spec=None, **more):
    source = {"path": "/kept/1", "name": "<b>mine</b>.jpg", "sha256": "1"}
    subject = Subject(spec or {"name": "resnet18"}, source, RED, None, CHOICE.picture)
    runs.note("saliency", Asked(SimpleNamespace(), CHOICE, subject, clicked, 5.0), "koala", "LRP", **more)


def test_a_run_is_told_with_its_link_and_two_small_pictures(noted):
    note(found=BLUE)
    ((run, most),) = ((one["run"], one["most"]) for one in noted)
    assert (run["page"], run["at"], run["title"], most) == ("saliency", 5.0, "koala", runs.MOST)
    assert run["detail"].startswith("<b>mine</b>.jpg · "), "text, which the browser shows as such"
    assert Choice.from_query(dict(parse_qsl(run["query"]))) == CHOICE
    kind, _, data = run["thumb"].partition(",")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
    assert (kind, pixels.shape) == ("data:image/webp;base64", (runs.SIDE, 2 * runs.SIDE, 3))
    left, right = pixels[:, : runs.SIDE - 8], pixels[:, runs.SIDE + 8 :]
    assert abs(left - RED[0, 0]).max() < 24 > abs(right - BLUE[0, 0]).max()


def test_what_a_link_opened_or_none_can_name_is_not_told(noted):
    note(clicked=False)
    note(spec={"weights": "/kept/weights"})
    assert noted == []


def test_a_link_that_is_too_long_is_not_told(noted):
    runs.note_run(runs.Run("trace", {"model": "m" * runs.LONGEST["query"]}, 1.0, "title", "detail", [RED]))
    assert noted == []


def test_what_is_told_is_never_longer_than_what_the_browser_takes():
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    told = runs.Run("trace", {"run": "1"}, 1.0, "a" * 999, "b" * 999, [noise, noise.copy()]).to_dict()
    assert {name: len(told[name]) <= most for name, most in runs.LONGEST.items()} == dict.fromkeys(runs.LONGEST, True)
    assert set(told) == {"page", "query", "at", "title", "detail", "thumb"}
