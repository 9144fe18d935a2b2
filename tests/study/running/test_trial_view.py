"""What is shown of a trial, and the regions on the plain form's picture."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from spade_core.study.data.tables import Trial
from spade_core.study.running.trial_view import COLOURS, HALO, SIZE, view_of, with_regions
from tests.study.conftest import real_design, tiny_set

REGIONS = ((0.1, 0.3, 0.25), (0.6, 0.0, 0.25))


def pixels(uri):
    return np.array(Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))))


def grey():
    out = BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def test_each_region_is_framed_in_its_own_colour_and_what_is_inside_stays():
    found = pixels(with_regions(grey(), REGIONS))
    for colour, (left, top, side) in zip(COLOURS, REGIONS, strict=True):
        rows, columns = (slice(round(SIZE * start), round(SIZE * (start + side))) for start in (top, left))
        inside = found[rows, columns]
        assert (inside == colour).all(-1)[[0, -1]].mean() > 0.4
        core = inside[2 * HALO : -2 * HALO, 2 * HALO : -2 * HALO]
        assert (core == 128).all()
    assert (found[:, :40] == 128).all(), "nothing is drawn elsewhere"


def test_the_bytes_are_the_same_in_all_conditions(tmp_path):
    stimuli, design = tiny_set(tmp_path / "set"), real_design()
    item = stimuli.of("main")[0]
    sent = set()
    for condition in ("dense", "spade", "none"):
        trial = Trial(type="main", stimulus_id=item.id, condition=condition, reference_side="region_1")
        seen = view_of(stimuli, design, trial)
        sent.add(with_regions(seen.pictures["picture"], seen.regions))
    assert len(sent) == 1
