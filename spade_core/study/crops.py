"""The stimulus of the condition ``reference``: the nine natural pictures that excite a class neuron most, in a square.

The pictures come from a folder of their own. A picture that is itself in the study is passed over: its reference would
show the very photograph that is asked about.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from spade_core.errors import ConfigError
from spade_core.models.loading import LoadedModel
from spade_core.neurons import LOGITS
from spade_core.neurons.references import COUNT, Crop, folder_state, reference_crops
from spade_core.progress import Progress, silent

ROWS = 3
GAP = 4  # px between two crops, white


@dataclass(frozen=True)
class References:
    """Where the reference pictures come from.

    Attributes:
        folder: of pictures; without: sha256 of pictures that are passed over, those of the study.
        keep_in: folder of the tables that make the next class neuron cost nothing.
    """

    folder: Path
    keep_in: Path
    without: Collection[str] = ()

    def state(self) -> str:
        """Return a digest of the folder: it changes when its pictures do.

        Raises:
            ConfigError: there is no such folder, or no picture in it.
        """
        return folder_state(self.folder)

    def of(
        self, model: LoadedModel, target: int, size: int, progress: Progress = silent
    ) -> tuple[np.ndarray, dict[str, str]]:
        """Return the square of a class neuron, uint8 ``(size, size, 3)``, and each picture's sha256 by its file.

        Raises:
            ConfigError: too few pictures in the folder.
        """
        crops = reference_crops(
            model, self.folder, LOGITS, target, keep_in=self.keep_in, without=self.without, progress=progress
        )
        if len(crops) < COUNT:
            raise ConfigError(
                f"The folder {str(self.folder)!r} holds {len(crops)} pictures that are not in the study, and the "
                f"condition “reference” shows {COUNT}: put more there."
            )
        return montage(crops, size), {crop.file: crop.sha256 for crop in crops}


def montage(crops: list[Crop], size: int) -> np.ndarray:
    """Return nine crops in three rows, the strongest first, uint8 ``(size, size, 3)``."""
    side = (size - (ROWS - 1) * GAP) // ROWS
    sheet = np.full((size, size, 3), 255, np.uint8)
    for place, crop in enumerate(crops[: ROWS * ROWS]):
        top, left = (part * (side + GAP) for part in divmod(place, ROWS))
        small = Image.fromarray(np.ascontiguousarray(crop.pixels)).resize((side, side), Image.Resampling.BICUBIC)
        sheet[top : top + side, left : left + side] = np.asarray(small)
    return sheet
