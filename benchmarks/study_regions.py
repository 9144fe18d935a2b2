"""How well a study's regions hide which is the reference, by several rules, on Score-CAM maps of a folder's pictures.

    python -m benchmarks.study_regions --images DIR --count 120 --maps DIR2

One line a rule. ``central``: how often the reference is the more central region; ``clear``: how often a person is right
who takes the clearly more central one and guesses where none is; ``gap``: mean difference of the eccentricities;
``contrast``: mean difference of the contrasts, in grey levels; ``scores``: mean of the map on the reference and on the
other region, relative to its mean over the picture; ``one side``: pictures where only one region can be the nearer one.
The maps are kept in DIR2: half a minute a picture on 2 cores, then seconds for all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spade_core.models.loaded import LoadedModel, predict
from spade_core.models.loading import load_model
from spade_core.pictures.picture import load_picture
from spade_core.pictures.splits import pictures_in, spread
from spade_core.saliency.explanation import explain
from spade_core.study.stimuli.build import CLEARLY
from spade_core.study.stimuli.patches import Patches, choose_patches
from spade_core.study.stimuli.regions import Pair, Rule, choose_regions, nearer_sides

Seen = tuple[np.ndarray, np.ndarray]  # a map, and the picture as the model sees it
RULE = Rule()
VARIANTS = {
    "the highest mean only": replace(RULE, margin=0.0),
    "margin 5 %": replace(RULE, margin=0.05),
    "margin 15 %": replace(RULE, margin=0.15),
    "eccentricity 50": replace(RULE, eccentricity=50.0),
    "eccentricity 100": replace(RULE, eccentricity=100.0),
    "eccentricity 400": replace(RULE, eccentricity=400.0),
    "score 0": replace(RULE, score=0.0),
    "score 200": replace(RULE, score=200.0),
    "side 1/4": replace(RULE, side=1 / 4),
    "side 1/5": replace(RULE, side=1 / 5),
}


def seen(model: LoadedModel, path: Path, folder: Path) -> Seen:
    """Return the Score-CAM map of the most probable class, and the picture as the model sees it; the map is kept."""
    file = folder / f"{path.stem}.npz"
    if not file.is_file():
        picture = load_picture(path)
        found = explain(model, picture, method="scorecam", target=int(predict(model, picture).argmax()))
        np.savez_compressed(file, map=found.map, pixels=model.preprocessing.crop(picture))
    with np.load(file) as kept:
        return kept["map"], kept["pixels"]


def measures(name: str, chosen: Sequence[Patches], size: int, one_side: float = 0.0) -> str:
    """Return one line of the table."""
    half = np.array([(size - patches.side) / 2 for patches in chosen])
    reference, other = (
        np.hypot(*(np.array([getattr(patches, side) for patches in chosen]) - half[:, None]).T) / (half * 2**0.5)
        for side in ("high", "low")
    )
    gap = other - reference
    clear = np.where(abs(gap) <= CLEARLY, 0.5, gap > 0).mean()
    scores, contrasts = (
        np.array([getattr(patches, values) for patches in chosen]) for values in ("means", "contrasts")
    )
    return (
        f"{name:<22} central {(gap >= 0).mean():4.0%}  clear {clear:4.0%}  gap {abs(gap).mean():.2f}  "
        f"contrast {abs(np.diff(contrasts)).mean():4.1f}  scores {scores[:, 0].mean():.2f} {scores[:, 1].mean():.2f}  "
        f"one side {one_side:4.0%}"
    )


def balanced(found: Sequence[Mapping[str, Pair]]) -> list[Patches]:
    """Return the regions that a set of these pictures would show."""
    sides = nearer_sides([{side: choice.cost for side, choice in row.items()} for row in found])
    return [row[side].patches for row, side in zip(found, sides, strict=True)]


def table(pictures: Sequence[Seen]) -> list[str]:
    """Return a line for the rater's rule, for the study's without and with balance, and for variants of it."""
    size = pictures[0][0].shape[0]
    lines = [measures("highest and lowest", [choose_patches(*picture) for picture in pictures], size)]
    for name, rule in {"the rule": RULE, **VARIANTS}.items():
        found = [choose_regions(*picture, rule) for picture in pictures]
        one_side = sum(len(row) == 1 for row in found) / len(found)
        if rule is RULE:
            cheapest = [min(row.values(), key=lambda choice: choice.cost).patches for row in found]
            lines.append(measures("the rule, unbalanced", cheapest, size, one_side))
        lines.append(measures(name, balanced(found), size, one_side))
    return lines


def main() -> None:
    """Attribute what is not kept, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_regions", description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, help="folder of pictures")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--maps", required=True, help="folder where maps are kept")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    folder, model = Path(options.maps), load_model("efficientnet_lite0", device=options.device)
    folder.mkdir(parents=True, exist_ok=True)
    paths = spread(pictures_in(options.images), options.count)
    sys.stdout.write("\n".join(table([seen(model, path, folder) for path in paths])) + "\n")


if __name__ == "__main__":
    main()
