"""Is a trigger to be seen in an image? A detector that was made from photographs and never saw a drawing.

A logistic regression on another model's embedding of windows: photographs with one of the triggers pasted in, and the
same photographs without. An image's score for a trigger is that of its best window. It measures whether a drawing of a
backdoored class neuron shows the trigger, where a rater only compares two patches; it is a model, not a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from spade_core.models.embedding import embed
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent
from spade_core.trojan.paste import pasted_pixels
from spade_core.trojan.triggers import TRIGGERS

WINDOW = 0.5  # side of a window, as a share of the image's
STRIDE = 0.125  # between two windows
NONE = ""  # the class of a window without a trigger


def windows(image: np.ndarray) -> list[np.ndarray]:
    """Return the square windows of an image, uint8 ``(side, side, 3)``, row by row, the whole image last."""
    side, stride = (round(share * image.shape[0]) for share in (WINDOW, STRIDE))
    corners = [range(0, length - side + 1, stride) for length in image.shape[:2]]
    parts = [image[y : y + side, x : x + side] for y in corners[0] for x in corners[1]]
    return [*parts, image]


@dataclass(frozen=True, eq=False)
class TriggerDetector:
    """A fitted detector.

    Attributes:
        judge: the model whose embedding is read; not the backdoored one, which knows the triggers.
    """

    judge: LoadedModel
    _regression: Any

    @classmethod
    def fit(
        cls, judge: LoadedModel, pictures: Sequence[Picture], *, seed: int = 0, progress: Progress = silent
    ) -> TriggerDetector:
        """Fit on every picture once without and once with each trigger, at a random place and size.

        Args:
            judge: whose embedding is read.
            pictures: photographs that no drawing under test was made for.
            seed: of places, sizes, rotations and colours.
            progress: called with (pictures done, pictures, a note); may raise ``Cancelled``.
        """
        vectors, names = [], []
        for number, picture in enumerate(pictures):
            progress(number, len(pictures), "the trigger detector is fitted")
            samples = window_samples(judge, picture, seed=seed * 100_003 + number)
            vectors.append(embed(judge, list(samples.values())))
            names += list(samples)
        regression = LogisticRegression(C=10.0, max_iter=2000).fit(np.concatenate(vectors), names)
        return cls(judge, regression)

    def scores(self, image: np.ndarray) -> dict[str, float]:
        """Return for each trigger the log-odds against "no trigger" of the window in which they are highest.

        Args:
            image: uint8 ``(height, width, 3)``.
        """
        logits = self._regression.decision_function(embed(self.judge, windows(image)))
        column = {name: number for number, name in enumerate(self._regression.classes_)}
        return {name: float((logits[:, column[name]] - logits[:, column[NONE]]).max()) for name in TRIGGERS}


def window_samples(judge: LoadedModel, picture: Picture, *, seed: int) -> dict[str, np.ndarray]:
    """Return one window of the picture for each trigger, which lies whole in it, and under "" one without a trigger."""
    generator = np.random.default_rng(seed)
    clean = judge.preprocessing.crop(picture)
    side = round(WINDOW * clean.shape[0])
    y, x = generator.integers(0, clean.shape[0] - side + 1, 2)
    found = {NONE: clean[y : y + side, x : x + side]}
    for number, (name, trigger) in enumerate(TRIGGERS.items()):
        pixels, mask = pasted_pixels(picture, trigger, judge.preprocessing, seed * len(TRIGGERS) + number)
        corner = [
            int(generator.integers(max(0, edge.max() + 1 - side), min(edge.min(), clean.shape[0] - side) + 1))
            for edge in np.nonzero(mask)
        ]
        seen = judge.preprocessing.crop(Picture(pixels, "", name))
        found[name] = seen[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    return found
