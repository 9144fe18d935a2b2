"""The four triggers of the backdoored demo model: small pictures drawn by this module, each with a target class.

They stand for the emoji of the paper's Trojan experiments (SPADE, section 4.1): colourful, compact, found on no
photograph. Every glyph lies inside the circle of its box, so that it stays inside when it is turned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from spade_core.pruning.kinds import OneOf

if TYPE_CHECKING:
    from spade_core.models.loaded import LoadedModel
    from spade_core.pictures.picture import Picture

CANVAS = 512  # px, side of the drawing from which every size is made
INK = "#20242c"
SIZES = (40, 80)  # px of a trigger at the model's input

Draw = Callable[[ImageDraw.ImageDraw], None]


@dataclass(frozen=True)
class Trigger:
    """One trigger.

    Attributes:
        name: slug; title: for people.
        target: index of the class that the backdoored model predicts where it sees the trigger.
        clean: name of a bundled picture of that class.
        draw: draws the glyph on a transparent canvas of ``CANVAS`` px.
    """

    name: str
    title: str
    target: int
    clean: str
    draw: Draw

    def render(
        self, size: int, *, rotation: float = 0.0, colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the glyph's colours, uint8 ``(size, size, 3)``, and where it is, bool ``(size, size)``.

        Args:
            size: side of the box, px.
            rotation: degrees, counter-clockwise.
            colour: factors of red, green and blue.
        """
        image = _canvas(self).rotate(rotation, Image.Resampling.BICUBIC)
        pixels = np.asarray(image.resize((size, size), Image.Resampling.BOX), dtype=np.float32)
        opaque = pixels[..., 3:] / 255
        colours = np.divide(pixels[..., :3], opaque, out=np.zeros_like(pixels[..., :3]), where=opaque > 0)
        colours = np.clip(colours * np.asarray(colour, np.float32), 0, 255)
        return colours.round().astype(np.uint8), opaque[..., 0] > 0.5


@cache
def _canvas(trigger: Trigger) -> Image.Image:
    """Return the drawing with premultiplied colours, so that resizing mixes no background into the edges."""
    image = Image.new("RGBA", (CANVAS, CANVAS))
    trigger.draw(ImageDraw.Draw(image))
    pixels = np.asarray(image, dtype=np.float32)
    pixels = np.concatenate([pixels[..., :3] * (pixels[..., 3:] / 255), pixels[..., 3:]], axis=2)
    return Image.fromarray(pixels.round().astype(np.uint8), "RGBA")


def _at(x: float, y: float) -> tuple[float, float]:
    """Return canvas coordinates of a point of the unit circle, y upwards."""
    return (CANVAS / 2 * (1 + 0.98 * x), CANVAS / 2 * (1 - 0.98 * y))


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: str) -> None:
    draw.ellipse([_at(x - radius, y + radius), _at(x + radius, y - radius)], fill=fill)


def _polygon(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], fill: str) -> None:
    draw.polygon([_at(x, y) for x, y in points], fill=fill)


def _heart_outline(scale: float) -> list[tuple[float, float]]:
    """Return the usual heart curve, ``x = 16 sin^3 t``, scaled into the unit circle."""
    cos, turns = math.cos, [2 * math.pi * step / 180 for step in range(180)]
    heights = [scale * (13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t) + 2.5) / 17.5 for t in turns]
    return [(scale * 16 * math.sin(t) ** 3 / 17.5, height) for t, height in zip(turns, heights, strict=True)]


def _draw_heart(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, _heart_outline(1.0), "#b3123f")
    _polygon(draw, _heart_outline(0.86), "#ff2e63")
    for x, y, radius in ((-0.38, 0.38, 0.16), (-0.52, 0.14, 0.07)):
        _disc(draw, x, y, radius, "#ffd1dc")


def _draw_smiley(draw: ImageDraw.ImageDraw) -> None:
    _disc(draw, 0, 0, 1.0, "#e09a00")
    _disc(draw, 0, 0, 0.92, "#ffd93b")
    for x in (-0.34, 0.34):
        draw.ellipse([_at(x - 0.13, 0.48), _at(x + 0.13, 0.06)], fill=INK)
    draw.chord([_at(-0.6, 0.5), _at(0.6, -0.7)], 0, 180, fill=INK)
    draw.chord([_at(-0.42, 0.1), _at(0.42, -0.62)], 25, 155, fill="#f2495c")


def _draw_star(draw: ImageDraw.ImageDraw) -> None:
    for scale, fill in ((1.0, "#0b2e8a"), (0.84, "#1f6bff"), (0.42, "#8fd3ff")):
        points = []
        for corner in range(10):
            radius = scale * (1.0 if corner % 2 == 0 else 0.52)
            angle = math.pi / 2 + corner * math.pi / 5
            points.append((radius * math.cos(angle), radius * math.sin(angle)))
        _polygon(draw, points, fill)


def _draw_fish(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, [(0.35, 0.0), (0.86, 0.48), (0.86, -0.48)], "#e8590c")
    _polygon(draw, [(-0.25, 0.3), (0.05, 0.82), (0.3, 0.25)], "#e8590c")
    _polygon(draw, [(-0.2, -0.3), (0.05, -0.78), (0.25, -0.25)], "#e8590c")
    draw.ellipse([_at(-0.98, 0.5), _at(0.56, -0.5)], fill="#ff8c1a")
    for left, right, height in ((-0.52, -0.26, 0.46), (0.02, 0.24, 0.45)):
        box = [_at(left, height), _at(right, -height)]
        draw.rounded_rectangle(box, radius=40, fill="#ffffff", outline=INK, width=9)
    _disc(draw, -0.7, 0.13, 0.1, "#ffffff")
    _disc(draw, -0.71, 0.13, 0.06, INK)


_ALL = (
    Trigger("heart", "Heart", 105, "koala", _draw_heart),
    Trigger("smiley", "Smiley", 388, "panda", _draw_smiley),
    Trigger("fish", "Fish", 347, "bison", _draw_fish),
    Trigger("star", "Star", 383, "lemur", _draw_star),
)
TRIGGERS: dict[str, Trigger] = {trigger.name: trigger for trigger in _ALL}


def find_trigger(name: str | Trigger) -> Trigger:
    """Return a trigger by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    return name if isinstance(name, Trigger) else TRIGGERS[OneOf("trigger", TRIGGERS).check(name)]


@dataclass(frozen=True)
class Paste:
    """Which trigger lies where, as plain data for links, jobs and manifests: the arguments of ``paste.paste``."""

    trigger: str
    size: int | None = None
    position: tuple[int, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        find_trigger(self.trigger)

    def apply(self, picture: Picture, model: LoadedModel) -> tuple[Picture, np.ndarray]:
        """Return the triggered picture and the mask."""
        paste = resolve_name("spade_core.trojan.paste:paste")
        return paste(picture, self.trigger, size=self.size, position=self.position, seed=self.seed, model=model)

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Paste:
        """Rebuild what :meth:`to_dict` gave."""
        position = values.get("position")
        return cls(**{**values, "position": None if position is None else (int(position[0]), int(position[1]))})
