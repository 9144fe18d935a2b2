"""Random views: seeded, in range, drawn as the paper draws them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spade_core.pruning.views import draw_views, noisy_views, random_views


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (3, 60, 90), dtype=np.uint8))


def test_views_are_seeded_and_a_prefix_of_more_views(pixels):
    few, again, many = (random_views(pixels, count, 32, seed=7) for count in (3, 3, 5))
    assert torch.equal(few, again)
    assert torch.equal(few, many[:3])
    assert not torch.equal(few, random_views(pixels, 3, 32, seed=8))
    assert len({view.numpy().tobytes() for view in many}) == 5


def test_views_have_shape_range_and_leave_input_and_rng_alone(pixels):
    before, state = pixels.clone(), torch.get_rng_state()
    views = random_views(pixels, 4, 24, seed=0)
    assert views.shape == (4, 3, 24, 24)
    assert views.dtype == torch.float32
    assert 0 <= views.min() <= views.max() <= 1
    assert torch.equal(pixels, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_noisy_views_are_the_picture_and_noise_of_their_own():
    image, state = torch.linspace(-2, 1, 3 * 50 * 40).view(1, 3, 50, 40), torch.get_rng_state()
    few, many = (noisy_views(image, count, seed=7) for count in (2, 4))
    assert many.shape == (4, 3, 50, 40)
    assert torch.equal(few, many[:2])
    assert torch.equal(torch.get_rng_state(), state)
    noise = (many - image) / 3  # the image's range
    assert noise.std(dim=(1, 2, 3)).tolist() == pytest.approx([0.15] * 4, rel=0.05)
    assert noise.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.0] * 4, abs=0.01)
    assert torch.corrcoef(noise.flatten(1)).fill_diagonal_(0).abs().max() < 0.06
    mapped = torch.randn(image.shape, generator=torch.Generator().manual_seed(7))  # of a map's first copy
    assert abs(torch.corrcoef(torch.stack([noise[0].flatten(), mapped.flatten()]))[0, 1]) < 0.06
    assert not torch.equal(few, noisy_views(image, 2, seed=8))


def test_draws_follow_the_papers_distributions():
    views = draw_views(300, 400, 2000, seed=0)
    area = np.array([view.height * view.width / (300 * 400) for view in views])
    ratio = np.array([view.width / view.height for view in views])
    assert 0.19 <= area.min() <= 0.22
    assert 0.95 <= area.max() <= 1.0
    assert 0.74 <= ratio.min() <= ratio.max() <= 1.35
    assert all(view.top + view.height <= 300 and view.left + view.width <= 400 for view in views)
    assert np.mean([view.flip for view in views]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([view.hue_first for view in views]) == pytest.approx(0.5, abs=0.04)
    for values, low, high in (
        ([view.brightness for view in views], 0.5, 1.5),
        ([view.hue for view in views], -0.3, 0.3),
    ):
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(values) <= high


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (2000, 30)])
def test_extreme_shapes_still_give_views(shape):
    views = random_views(torch.full((3, *shape), 128, dtype=torch.uint8), 2, 16, seed=0)
    assert views.shape == (2, 3, 16, 16)
    assert torch.isfinite(views).all()


def test_large_pictures_are_reduced_first(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "spade_core.pruning.views.draw_views", lambda h, w, *rest: seen.append((h, w)) or draw_views(h, w, *rest)
    )
    random_views(torch.zeros(3, 400, 800, dtype=torch.uint8), 1, 16, seed=0)
    assert seen == [(48, 96)]


def test_views_of_an_input_that_is_no_square_have_its_shape_and_are_stretched_no_more():
    assert random_views(torch.zeros(3, 40, 60, dtype=torch.uint8), 3, (24, 16), seed=0).shape == (3, 3, 24, 16)
    ratios = [view.width / view.height for view in draw_views(600, 600, 2000, seed=0, aspect=2 / 3)]
    low, high = 2 / 3 * 3 / 4, 2 / 3 * 4 / 3
    assert low * 0.98 < min(ratios) < low * 1.03
    assert high * 0.97 < max(ratios) < high * 1.02
    assert draw_views(300, 400, 20, seed=0, aspect=1.0) == draw_views(300, 400, 20, seed=0)
