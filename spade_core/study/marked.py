"""The two regions drawn on a picture, for the plain form; the trial component draws its own.

Told apart by number, colour (Okabe and Ito's blue and orange) and a dashed line. The bytes depend on the photograph and
the regions alone, so they are the same in all conditions.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from io import BytesIO
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spade_core.study.stimuli.stimulus_set import Box

SIZE = 480  # px, of the picture that is shown
COLOURS = ((0, 114, 178), (230, 159, 0))
INKS = ((255, 255, 255), (17, 17, 17))  # of the numbers
LINE, HALO = 3, 6  # px
DASH = 14  # px


@lru_cache(maxsize=64)
def marked(uri: str, regions: tuple[Box, Box]) -> str:
    """Return a picture's data URI with region 1 and 2 drawn on it, another data URI.

    Args:
        regions: left, top and side, as fractions of the picture's side.
    """
    picture = Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB").resize((SIZE, SIZE))
    for number, region in enumerate(regions):
        _draw_region(picture, number, region)
    out = BytesIO()
    picture.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _draw_region(picture: Image.Image, number: int, region: Box) -> None:
    left, top, side = (round(SIZE * part) for part in region)
    right, bottom = min(left + side, SIZE) - 1, min(top + side, SIZE) - 1
    pen = ImageDraw.Draw(picture)
    pen.rectangle((left, top, right, bottom), outline=(255, 255, 255), width=HALO)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    for start, stop in pairwise(corners):
        _draw_edge(pen, np.array(start), np.array(stop), number)
    radius = 14
    # Beside the box where there is room, so that nothing of the region is covered.
    x, y = left + radius, top - radius - HALO
    if y < radius:
        y = bottom + radius + HALO
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=COLOURS[number], outline=(255, 255, 255))
    pen.text((x, y), str(number + 1), fill=INKS[number], font=ImageFont.load_default(18), anchor="mm")


def _draw_edge(pen: ImageDraw.ImageDraw, start: np.ndarray, stop: np.ndarray, number: int) -> None:
    """Draw one edge: solid of region 1, dashed of region 2."""
    steps = 1 if number == 0 else max(1, round(float(np.abs(stop - start).sum()) / DASH))
    for step in range(steps):
        begin = start + (stop - start) * step / steps
        end = begin + (stop - start) * (1.0 if number == 0 else 0.6) / steps
        pen.line((*begin.tolist(), *end.tolist()), fill=COLOURS[number], width=LINE)
