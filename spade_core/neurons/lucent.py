"""Lucent's parametrization and transforms, on a device of one's own choice.

Lucent decides on its device once, at import: the GPU where there is one. These wrappers make its FFT image and its
transforms work on the model's device, and put the module's state back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lucent.optvis import transform as lucent_transform
from lucent.optvis.param import color, spatial
from torch import Tensor

from spade_core.isolation import seeded

Transform = Callable[[Tensor], Tensor]


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
class FourierImage:
    """A batch of images as Lucent's decorrelated Fourier spectrum (Olah et al. 2017).

    Attributes:
        spectra: the leaves that are optimized, one an image.
    """

    spectra: list[Tensor]
    _decode: list[Callable[[], Tensor]]
    _colours: Tensor

    @classmethod
    def draw(cls, seeds: Sequence[int], size: int, device: torch.device) -> FourierImage:
        """Draw the initial noise of every image from its own seed; inside ``lucent_on``."""
        spectra, decode = [], []
        for seed in seeds:
            with seeded(seed):
                parameters, image = spatial.fft_image([1, 3, size, size])
            spectra += parameters
            decode.append(image)
        return cls(spectra, decode, torch.tensor(color.color_correlation_normalized, device=device))

    def __call__(self) -> Tensor:
        """Return the images, ``(n, 3, size, size)`` in [0, 1]."""
        raw = torch.cat([decode() for decode in self._decode])
        return torch.sigmoid(torch.einsum("nchw,dc->ndhw", raw, self._colours))

    def pixels(self) -> np.ndarray:
        """Return the images as uint8 ``(n, size, size, 3)``."""
        with torch.no_grad():
            return self().mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def paper_transforms() -> list[Transform]:
    """Return the transforms of the paper, which are Lucent's standard ones: pad, jitter, scale, rotate, jitter."""
    return list(lucent_transform.standard_transforms)
