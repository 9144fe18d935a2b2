"""A picture's maps on disk, and small pictures of them.

A file of a run that keeps maps holds ``picture``, uint8 ``(height, width, 3)``, what the model sees, and a map
``ARM_METHOD``, float ``(height, width)``, of each arm and method, by the run's first processing.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from PIL import Image

from spade_core.evaluation.arms import ARMS
from spade_core.evaluation.folder.rows import PICTURE
from spade_core.evaluation.maps import Prepared
from spade_core.files import written_beside
from spade_core.pictures.figures import colorize
from spade_core.pictures.scales import scale_of
from spade_core.results.manifest import npy_bytes
from spade_core.saliency import METHODS, colour_limits, top_of

SIDE = 160  # px, of a small picture


def arrays_of(prepared: Prepared) -> dict[str, np.ndarray]:
    """Return what is kept of an arm whose maps were made."""
    subject = prepared.subject
    maps = {f"{prepared.arm.slug}_{method}": made[0] for method, made in prepared.made.items()}
    return {PICTURE: subject.model.preprocessing.crop(subject.picture), **maps}


def write_maps(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an NPZ file that appears whole or not at all; the same arrays give the same bytes."""
    with written_beside(path) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            archive.writestr(ZipInfo(f"{name}.npy"), npy_bytes(values), ZIP_DEFLATED)


def small_pictures(path: Path, arms: Sequence[str], methods: Sequence[str]) -> dict[str, bytes]:
    """Return WebP files of at most ``SIDE`` px a side: ``picture``, and ``ARM_METHOD`` of each map in its own unit.

    Where somebody took the maps away, or they are damaged, there are none: a report's numbers stay.
    """
    found = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found[PICTURE] = _webp(arrays[PICTURE])
            for method in methods:
                signed = METHODS[method].signed and not any(ARMS[arm].magnitudes for arm in arms)
                for key in (f"{arm}_{method}" for arm in arms):
                    unit = arrays[key] / top_of(arrays[key])
                    found[key] = _webp(colorize(unit, colour_limits(signed), scale_of(signed)))
    except (OSError, KeyError, ValueError, BadZipFile):
        return {}
    return found


def _webp(pixels: np.ndarray) -> bytes:
    image, out = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    image.save(out, "WEBP", quality=80)
    return out.getvalue()
