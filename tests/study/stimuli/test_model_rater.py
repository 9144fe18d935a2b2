"""The rater's patches by brute force, and its choice on pictures whose answer is known."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from spade_core.errors import ConfigError
from spade_core.files import resumed
from spade_core.neurons.rendering import RenderConfig, render
from spade_core.study.stimuli.model_rater import Rater, agreement, rate
from spade_core.study.stimuli.patches import choose_patches


def smooth(seed, side=56):
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((side, side))
    y, x = rng.integers(10, side - 10, 2)
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 60.0) + 0.01 * rng.random((side, side))


@pytest.mark.parametrize("seed", range(6))
def test_patches_are_what_the_rule_says(seed):
    reference = smooth(seed)
    pixels = np.random.default_rng(seed).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    pixels[:, ::3] //= 3
    found = choose_patches(reference, pixels)
    side = found.side
    assert side == 16
    places = [(top, left) for top in range(56 - side + 1) for left in range(56 - side + 1)]

    def window(values, place):
        return values[place[0] : place[0] + side, place[1] : place[1] + side]

    means = {place: window(reference, place).mean() for place in places}
    assert means[found.high] == pytest.approx(max(means.values()), rel=1e-9)
    free = [p for p in places if abs(p[0] - found.high[0]) >= side or abs(p[1] - found.high[1]) >= side]
    assert found.low in free
    limit = np.quantile([means[place] for place in free], 0.25)
    candidates = [place for place in free if means[place] <= limit + 1e-12]
    grey = pixels.astype(float).mean(2)
    contrast = {place: window(grey, place).std() for place in [*candidates, found.high]}
    best = min(abs(contrast[place] - contrast[found.high]) for place in candidates)
    assert abs(contrast[found.low] - contrast[found.high]) == pytest.approx(best, abs=1e-6)
    high, low = found.cut(pixels)
    assert np.array_equal(high, window(pixels, found.high))
    assert np.array_equal(low, window(pixels, found.low))


def test_the_rater_prefers_the_patch_that_looks_like_the_visualization(lite0, coffee):
    import spade_core as sc

    crops = [lite0.preprocessing.crop(sc.load_picture(f"bundled:{name}")) for name in ("macaw", "coffee")]
    patches = tuple(np.ascontiguousarray(crop[60:164, 60:164]) for crop in crops)
    assert rate(lite0, crops[0], patches) > 0.05
    assert rate(lite0, crops[1], patches) < -0.05


def test_a_folder_is_rated_once_and_kept(small, noise, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    config = RenderConfig(steps=2, size=24, transforms=False)
    rater = Rater(small, small, config, {"sparsity": 0.4, "views": 2}, tmp_path / "out")
    found = rater.rate(path)
    assert found.file == "a.png"
    assert found.reference == "scorecam"
    drawn = sorted(file.name.rsplit("_", 1)[0] for file in (tmp_path / "out").iterdir())
    assert drawn == [f"dense_{found.target}", "spade_a.png"]
    assert rater.rate(path) == found
    assert json.loads(json.dumps(asdict(found)))["target"] == found.target


def test_drawings_of_other_settings_or_pictures_are_not_taken(small, tmp_path, monkeypatch):
    import spade_core.study.stimuli.model_rater as module

    for seed, name in enumerate(("a.png", "a.jpg")):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    drawn, draw = [], render
    monkeypatch.setattr(module, "render", lambda *args, **rest: drawn.append(args[1]) or draw(*args, **rest))
    options, out = {"sparsity": 0.4, "views": 2}, tmp_path / "out"

    def rate_again(name, **changed):
        drawn.clear()
        config = RenderConfig(**{"steps": 1, "size": 24, "transforms": False, **changed})
        Rater(small, small, config, options, out).rate(tmp_path / name)
        return len(drawn)

    assert rate_again("a.png") == 2
    assert rate_again("a.jpg") in (1, 2)  # the class may be the same, the picture is not
    assert rate_again("a.png") == 0
    assert rate_again("a.png", steps=2) == 2
    assert rate_again("a.png", seed=1) == 2
    options["sparsity"] = 0.5
    assert rate_again("a.png") == 1
    assert not list(out.glob("*.new"))


def test_the_note_of_a_dead_drawing_stays_with_it(small, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    config = RenderConfig(steps=2, size=24, transforms=False, rate=1e-12)  # nothing changes, nothing is drawn
    rater = Rater(small, small, config, {"sparsity": 0.4, "views": 2}, tmp_path / "out")
    found = rater.rate(path)
    assert found.notes[-1].startswith("SPADE: Nothing was drawn for logits")
    assert rater.rate(path).notes == found.notes


def test_agreement_counts_positive_gaps():
    rows = [{"dense": 0.1, "spade": 0.2}, {"dense": -0.1, "spade": 0.2}, {"dense": -0.3, "spade": -0.2}]
    found = agreement(rows)
    assert found["dense"].mean == pytest.approx(100 / 3)
    assert found["spade"].mean == pytest.approx(200 / 3)
    assert found["gap"].mean == pytest.approx(100 / 3)


def test_rows_are_measured_once(tmp_path):
    calls = []

    def measure(key, item):
        calls.append(key)
        return None if item < 0 else {"value": item}

    items = {"a": 1, "b": -1}
    file, settings = tmp_path / "rows.jsonl", {"methods": ("x",), "seed": 1}
    first = list(resumed(file, items, measure, settings=settings))
    again = list(resumed(file, {**items, "c": 3}, measure, settings=settings))
    assert first == [{"key": "a", "counts": True, "value": 1}]
    assert [row["key"] for row in again] == ["a", "c"]
    assert calls == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="other settings"):
        list(resumed(file, items, measure, settings={"methods": ("y",), "seed": 1}))
    for text in ("something else", '{"a": 1}'):
        file.write_text(text)
        with pytest.raises(ConfigError, match="no rows"):
            list(resumed(file, items, measure, settings=settings))
        assert file.read_text() == text


def test_a_line_that_a_kill_has_torn_is_measured_again(tmp_path):
    calls = []
    file, items, settings = tmp_path / "rows.jsonl", {"a": 1, "b": 2}, {"seed": 1}

    def run():
        calls.clear()
        return list(resumed(file, items, lambda key, item: calls.append(key) or {"value": item}, settings=settings))

    whole = run()
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    for length, again in (
        (len(content) - 5, ["b"]),
        (len(content) - 1, ["b"]),
        (len(lines[0]) - 3, ["a", "b"]),
        (0, ["a", "b"]),
    ):
        file.write_bytes(content[:length])
        assert run() == whole
        assert calls == again
        assert file.read_bytes() == content
