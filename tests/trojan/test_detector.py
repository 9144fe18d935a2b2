"""The trigger detector on photographs that it was not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.trigger_detector import NONE, TriggerDetector, window_samples, windows
from spade_core.pictures.picture import bundled, load_picture
from spade_core.trojan.triggers import TRIGGERS


def test_windows_cover_the_image_and_end_with_it() -> None:
    image = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    found = windows(image)
    assert len(found) == 5 * 5 + 1
    assert {window.shape for window in found[:-1]} == {(16, 16, 3)}
    np.testing.assert_array_equal(found[0], image[:16, :16])
    np.testing.assert_array_equal(found[-2], image[16:, 16:])
    np.testing.assert_array_equal(found[-1], image)


def test_a_sample_holds_the_whole_trigger_and_the_other_one_none(lite0) -> None:
    picture = load_picture("bundled:coffee")
    found = window_samples(lite0, picture, seed=3)
    assert list(found) == [NONE, *TRIGGERS]
    assert {window.shape for window in found.values()} == {(112, 112, 3)}
    again = window_samples(lite0, picture, seed=3)
    assert all(np.array_equal(again[name], window) for name, window in found.items())


@pytest.mark.long
def test_it_names_the_trigger_in_a_photograph_it_never_saw(lite0) -> None:
    names = [name for name in bundled() if name != "koala"][:6]
    detector = TriggerDetector.fit(lite0, [load_picture(f"bundled:{name}") for name in names])
    samples = window_samples(lite0, load_picture("bundled:koala"), seed=77)
    nothing = detector.scores(samples[NONE])
    right = 0
    for trigger in TRIGGERS:
        scores = detector.scores(samples[trigger])
        right += max(scores, key=scores.__getitem__) == trigger
        assert scores[trigger] > nothing[trigger]
    assert right >= 3
