"""The images that a drawing optimizes: what is free in them, and where they begin.

``fourier`` is Lucent's decorrelated spectrum (Olah et al. 2017). ``maco`` fixes the magnitudes of the spectrum at those
of natural images and optimizes the phases alone (Fel et al. 2023, section 3), so that a drawing cannot fill itself with
the high frequencies that networks answer to and people do not know. Where we differ from that paper: the magnitudes
follow a law of two numbers a channel, instead of a table of one size; each step takes the whole image under the
transforms of all drawings, instead of several random crops; and the colours are Lucent's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from lucent.optvis import transform as lucent_transform
from lucent.optvis.param import color, spatial
from torch import Tensor

from spade_core.isolation import seeded
from spade_core.pictures.size import Size, sides_of

Sides = tuple[int, int]

# Lucent's constant; the decorrelated image is the inverse transform of scaled coefficients, divided by it.
_LUCENT_MAGIC = 4.0
_FLAT = 0.02  # pixels are kept this far from 0 and 1, where a sigmoid has no inverse

# Magnitude a / f^b of each decorrelated channel, f in cycles a pixel, of an orthonormal transform: fitted on the 60
# pictures of the tuning split, R^2 0.92 to 0.93 (`benchmarks/README.md`). Field 1987 found b about 1 in natural images.
_LAW = ((0.162, 1.17), (0.087, 1.23), (0.136, 1.15))


@contextlib.contextmanager
def lucent_on(device: torch.device) -> Iterator[None]:
    """Let Lucent work on ``device`` inside the block; call it inside ``isolation.alone``."""
    modules = (spatial, lucent_transform)
    before = [module.device for module in modules]
    for module in modules:
        module.device = device
    try:
        yield
    finally:
        for module, old in zip(modules, before, strict=True):
            module.device = old


@dataclass(frozen=True, eq=False)
class Images:
    """A batch of images.

    Attributes:
        leaves: what is optimized, one an image.
    """

    leaves: list[Tensor]
    _decode: list[Callable[[], Tensor]]
    _colours: Tensor

    @classmethod
    def begin(
        cls, kind: str, seeds: Sequence[int], size: Size, device: torch.device, picture: Tensor | None = None
    ) -> Images:
        """Return the images as they are before the first step; inside ``lucent_on``.

        Args:
            kind: slug of ``PARAMETRIZATIONS``.
            seeds: one an image, of its noise.
            size: of the images; picture: ``(1, 3, height, width)`` in [0, 1] to begin from, instead of noise.
        """
        colours = torch.tensor(color.color_correlation_normalized, device=device)
        sides = sides_of(size)
        start = None if picture is None else _decorrelated(picture.to(device), sides, colours)
        leaves, decode = [], []
        for seed in seeds:
            with seeded(seed):
                leaf, image = _KINDS[kind](sides, device, start)
            leaves.append(leaf)
            decode.append(image)
        return cls(leaves, decode, colours)

    def __call__(self) -> Tensor:
        """Return the images, ``(n, 3, height, width)`` in [0, 1]."""
        raw = torch.cat([decode() for decode in self._decode])
        return torch.sigmoid(torch.einsum("nchw,dc->ndhw", raw, self._colours))

    def pixels(self) -> np.ndarray:
        """Return the images as uint8 ``(n, height, width, 3)``."""
        with torch.no_grad():
            return self().mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _decorrelated(picture: Tensor, sides: Sides, colours: Tensor) -> Tensor:
    """Return what the sigmoid and the colours make ``picture`` of, ``(1, 3, height, width)``."""
    small = F.interpolate(picture, sides, mode="bilinear", align_corners=False, antialias=True)
    inverse = torch.linalg.inv(colours.double()).to(small)
    return torch.einsum("nchw,dc->ndhw", torch.logit(small.clamp(_FLAT, 1 - _FLAT)), inverse)


def _frequencies(sides: Sides, device: torch.device) -> Tensor:
    """Return the frequency of every coefficient, cycles a pixel, at least that of one wave in the image."""
    rows, columns = torch.fft.fftfreq(sides[0], device=device), torch.fft.rfftfreq(sides[1], device=device)
    return torch.hypot(rows[:, None], columns).clamp_min(1 / max(sides))


def _fourier(sides: Sides, device: torch.device, start: Tensor | None) -> tuple[Tensor, Callable[[], Tensor]]:
    (leaf,), image = spatial.fft_image([1, 3, *sides])
    if start is not None:
        found = torch.fft.rfft2(start, norm="ortho") * _frequencies(sides, device) * _LUCENT_MAGIC
        with torch.no_grad():
            leaf.zero_()[..., : found.shape[-1], :] = torch.view_as_real(found)  # an odd side has an unused column
    return leaf, image


def _maco(sides: Sides, device: torch.device, start: Tensor | None) -> tuple[Tensor, Callable[[], Tensor]]:
    frequencies = _frequencies(sides, device)
    magnitudes = torch.stack([factor * frequencies**-exponent for factor, exponent in _LAW])[None]
    magnitudes[..., 0, 0] = 0  # the mean of a channel has no phase
    random = (2 * torch.rand(magnitudes.shape) - 1) * torch.pi
    phases = random.to(device) if start is None else torch.fft.rfft2(start, norm="ortho").angle()
    leaf = phases.requires_grad_(True)
    return leaf, lambda: torch.fft.irfft2(torch.polar(magnitudes, leaf), s=sides, norm="ortho")


_KINDS = {"fourier": _fourier, "maco": _maco}
