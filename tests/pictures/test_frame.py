"""Which part of a picture a model sees, as text."""

from __future__ import annotations

import pytest

from spade_core.errors import PictureError
from spade_core.pictures.frame import CENTRE, LETTERBOX, Frame, parse_frame
from spade_core.pictures.picture import load_picture


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("centre", CENTRE),
        ("letterbox", LETTERBOX),
        ("0,100", Frame(y=0, x=100)),
        ("50,50", CENTRE),
        ("7,0", Frame(y=7, x=0)),
    ],
)
def test_texts_round_trip(text, frame):
    assert parse_frame(text) == frame
    assert parse_frame(str(frame)) == frame


@pytest.mark.parametrize("text", ["", "center", "1", "101,0", "-1,0", "1,2,3", "1.5,2", "\u0661,2", "9" * 500, "1,2\n"])
def test_other_texts_are_refused(text):
    with pytest.raises(PictureError, match="must be centre, letterbox, or Y,X"):
        parse_frame(text)


def test_a_picture_has_its_frame_in_its_key():
    plain, moved = load_picture("bundled:dog"), load_picture("bundled:dog", frame="0,50")
    assert plain.frame == CENTRE
    assert plain.key == plain.sha256 == moved.sha256
    assert moved.key == f"{plain.sha256} 0,50"
