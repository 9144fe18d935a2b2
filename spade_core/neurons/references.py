"""The natural pictures that excite a neuron most, from a folder (Borowski et al. 2021 found them the stronger aid).

One pass over the folder notes every channel's largest value and its place in every picture, or its value at one place
for the single neurons there; the table is kept, so that the next neuron of the layer, or of the place, costs nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spade_core.errors import ConfigError, PictureError
from spade_core.files import keep_file
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel
from spade_core.neurons import REFERENCES, Neuron
from spade_core.neurons.layer_values import read_layers
from spade_core.neurons.ranking import region_around
from spade_core.pictures.picture import load_picture
from spade_core.pictures.splits import folder_state, reference_files
from spade_core.progress import Progress, silent

BATCH = 16
TABLE_BYTES = 2**28
TABLES = 2  # of what a table holds: another number where the same layer and pictures would give other values

Place = tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Crop:
    """One reference picture: its file and sha256, the crop uint8 ``(side, side, 3)``, the neuron's value there."""

    file: str
    sha256: str
    pixels: np.ndarray
    value: float


@dataclass(frozen=True, eq=False)
class _Table:
    """Of every picture and channel a value and the flat index of its place, and the map's grid.

    The value is the largest one of all places, or that of the one place that was asked for.
    """

    files: tuple[str, ...]
    values: np.ndarray
    places: np.ndarray
    grid: tuple[int, int]

    def to_bytes(self) -> bytes:
        out = io.BytesIO()
        files = np.array(json.dumps(self.files))
        np.savez(out, files=files, values=self.values, places=self.places, grid=np.array(self.grid))
        return out.getvalue()

    @classmethod
    def from_file(cls, file: Path) -> _Table:
        with np.load(file, allow_pickle=False) as data:
            rows, columns = data["grid"].tolist()
            return cls(tuple(json.loads(str(data["files"]))), data["values"], data["places"], (rows, columns))


def reference_crops(
    model: LoadedModel,
    folder: str | Path,
    layer: str,
    channel: int,
    *,
    keep_in: Path,
    position: Place = None,
    count: int = REFERENCES,
    without: Collection[str] = (),
    progress: Progress = silent,
) -> list[Crop]:
    """Return the crops of one channel or single neuron: :func:`look_through` and :meth:`References.crops`."""
    found = look_through(model, folder, layer, keep_in=keep_in, position=position, progress=progress)
    return found.crops(channel, count=count, without=without)


def look_through(
    model: LoadedModel,
    folder: str | Path,
    layer: str,
    *,
    keep_in: Path,
    position: Place = None,
    progress: Progress = silent,
) -> References:
    """Return how much each picture of a folder excites each channel of a layer, computed or kept.

    Args:
        folder: of pictures; files that are none are passed over.
        position: ``(row, column)`` of single neurons; None: the whole channels.
        keep_in: folder of kept tables, one for each model, layer, position and content of a folder.
        progress: called with (pictures, all, note); may raise ``Cancelled``.

    Raises:
        ConfigError: there is no such folder, or no picture in it.
        LayerError: there is no such layer or place.
    """
    files = reference_files(Path(folder))
    content = [TABLES, model.sha256, str(model.preprocessing), layer, position, folder_state(folder)]
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest() + ".npz"
    kept = keep_in / name
    table = _Table.from_file(kept) if kept.is_file() else _scan(model, files, layer, position, progress)
    if not kept.is_file():
        keep_file(keep_in, name, table.to_bytes(), TABLE_BYTES)
    return References(model, Path(folder), layer, table)


@dataclass(frozen=True, eq=False)
class References:
    """How much the pictures of ``folder`` excite the channels of a layer."""

    model: LoadedModel
    folder: Path
    layer: str
    table: _Table

    def crops(self, channel: int, *, count: int = REFERENCES, without: Collection[str] = ()) -> list[Crop]:
        """Return the crops of the pictures that excite a channel or a single neuron most, highest first.

        Of a channel, the crop lies where it is largest; of a single neuron, at its own place. A layer without places,
        such as the logits, gives the whole picture as the model sees it.

        Args:
            count: how many; without: sha256 of pictures that are passed over.

        Raises:
            ConfigError: the layer has no such channel.
        """
        table, preprocessing = self.table, self.model.preprocessing
        if not 0 <= channel < table.values.shape[1]:
            most = table.values.shape[1] - 1
            raise ConfigError(f"The layer {self.layer} has the channels 0 to {most}, not {channel}: choose one.")
        found: list[Crop] = []
        for row in np.argsort(-table.values[:, channel], kind="stable"):
            if len(found) == count:
                break
            picture = load_picture(self.folder / table.files[row])
            if picture.sha256 not in without:
                place = divmod(int(table.places[row, channel]), table.grid[1])
                top, left, bottom, right = region_around(place, table.grid, preprocessing.size)
                pixels, value = preprocessing.crop(picture), float(table.values[row, channel])
                found.append(Crop(table.files[row], picture.sha256, pixels[top:bottom, left:right], value))
        return found


def _scan(model: LoadedModel, files: list[Path], layer: str, position: Place, progress: Progress) -> _Table:
    module = share_copy(model.module)
    names: list[str] = []
    values, places, grid = [], [], (1, 1)
    with torch.no_grad(), read_layers(module, [layer]) as seen:
        for start in range(0, len(files), BATCH):
            progress(start, len(files), "looking through the reference pictures")
            inputs = []
            for path in files[start : start + BATCH]:
                try:
                    inputs.append(model.input(load_picture(path)))
                except PictureError:
                    continue
                names.append(path.name)
            if inputs:
                module(torch.cat(inputs).contiguous(memory_format=torch.channels_last))
                maps = seen[layer]
                grid = (maps.shape[2], maps.shape[3])
                if position is None:
                    found, index = maps.flatten(2).max(2)
                else:
                    Neuron(layer, 0, position).check((maps.shape[1], *grid))
                    found = maps[:, :, position[0], position[1]]
                    index = torch.full(found.shape, position[0] * grid[1] + position[1])
                values.append(found.float().cpu().numpy())
                places.append(index.cpu().numpy())
    if not names:
        where = str(files[0].parent)
        raise ConfigError(f"The folder {where!r} holds no readable pictures: put JPEG or PNG files there.")
    return _Table(tuple(names), np.concatenate(values), np.concatenate(places), grid)
