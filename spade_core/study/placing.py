"""Where a backdoored item's trigger lies: its place is ours to choose, so that no rule of thumb finds it.

Its centre is on a ring around the picture's. Farther in, no region beside the trigger's could be as near to the centre;
on the ring, one can be nearer and another farther, all around the picture.
"""

from __future__ import annotations

import numpy as np

from spade_core.study.stimuli.patches import PATCH
from spade_core.trojan.paste import SIZES, Paste

RING = (0.4, 0.6)  # eccentricity of a trigger's centre, 1 where a region touches the picture's corner


def place_trigger(trigger: str, seed: int, *, size: int | None = None, side: int = 224) -> Paste:
    """Draw a trigger's place: its centre lies on a ring around the picture's, seeded.

    Args:
        trigger: name in ``TRIGGERS``.
        seed: of the place, and of what :func:`spade_core.trojan.paste.paste` draws.
        size: side of the trigger's box in model-input pixels; None: drawn from 40 to 80 (of 224).
        side: of the model's input, px.
    """
    rng = np.random.default_rng(seed)
    drawn = round(rng.uniform(*SIZES) * side / 224)
    size = size or drawn
    reach = np.sqrt(2) * (side - round(PATCH * side)) / 2  # px at eccentricity 1
    radius, angle = rng.uniform(*RING) * reach, rng.uniform(0, 2 * np.pi)
    corner = [round((side - size) / 2 + radius * turn) for turn in (np.sin(angle), np.cos(angle))]
    y, x = (min(max(0, start), side - size) for start in corner)
    return Paste(trigger, size, (y, x), seed)
