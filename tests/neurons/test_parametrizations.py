"""What a drawing optimizes: the spectrum of Lucent, or the phases alone, from noise or from a picture."""

import numpy as np
import pytest
import torch
from lucent.optvis.param import color

from spade_core.neurons import PARAMETRIZATIONS
from spade_core.neurons import parametrizations as module
from spade_core.neurons.parametrizations import Images, lucent_on

CPU = torch.device("cpu")


def begin(kind, size=20, seeds=(5,), picture=None):
    with lucent_on(CPU):
        return Images.begin(kind, seeds, size, CPU, picture)


def test_every_parametrization_is_there():
    assert set(PARAMETRIZATIONS) == set(module._KINDS)


def test_the_image_is_lucents_own_decorrelated_fourier_image():
    from lucent.optvis import param

    from spade_core.isolation import seeded

    with seeded(5), lucent_on(CPU):
        _, image = param.image(20)
        expected = image()
    torch.testing.assert_close(begin("fourier")(), expected)


@pytest.mark.parametrize("size", [20, 21])
def test_maco_keeps_the_magnitudes_whatever_the_phases(size):
    images = begin("maco", size)
    with torch.no_grad():
        images.leaves[0].add_(torch.linspace(-9, 9, images.leaves[0].numel()).view_as(images.leaves[0]))
    raw = np.einsum(
        "nchw,dc->ndhw",
        torch.logit(images().detach().double()).numpy(),
        np.linalg.inv(color.color_correlation_normalized),
    )
    found = np.abs(np.fft.rfft2(raw, norm="ortho"))[0]
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    inner = (
        slice(None),
        slice(1, (size - 1) // 2),
        slice(1, (size - 1) // 2),
    )  # a real image ties the phases elsewhere
    frequencies = np.hypot(rows, columns)[inner[1:]]
    for channel, (factor, exponent) in enumerate(module._LAW):
        np.testing.assert_allclose(found[channel][inner[1:]], factor * frequencies**-exponent, rtol=2e-3)
    assert found[:, 0, 0] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("size", [20, 21])
def test_a_fourier_image_begins_at_the_picture(size):
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    torch.testing.assert_close(begin("fourier", size, picture=picture)(), picture, atol=1e-4, rtol=0)


def test_a_maco_image_begins_at_the_pictures_phases():
    picture = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    images = begin("maco", picture=picture)
    unmixed = torch.linalg.inv(torch.tensor(color.color_correlation_normalized, dtype=torch.float64))
    raw = torch.einsum("nchw,dc->ndhw", torch.logit(picture.double().clamp(0.02, 0.98)), unmixed)
    expected = torch.fft.rfft2(raw).angle()
    turned = torch.polar(torch.ones_like(expected), images.leaves[0].detach().double() - expected)
    torch.testing.assert_close(turned[..., 1:9, 1:9], torch.ones_like(turned[..., 1:9, 1:9]), atol=1e-3, rtol=0)


def test_seeds_part_the_images_of_a_batch():
    found = begin("maco", seeds=(1, 2, 1))()
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
