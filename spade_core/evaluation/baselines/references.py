"""The pictures that baselines are made of: of another split than the measured ones, or of a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from spade_core.errors import ConfigError, PictureError
from spade_core.evaluation.arms import ARMS
from spade_core.evaluation.baselines.replacement import Replacement
from spade_core.evaluation.configuration import Configuration, seed_of
from spade_core.evaluation.maps import Subject
from spade_core.evaluation.protocols import case_of
from spade_core.models.loaded import LoadedModel, predict
from spade_core.pictures.picture import load_picture
from spade_core.pictures.splits import pictures_in, split_of, spread
from spade_core.progress import Progress, silent, span
from spade_core.results.manifest import threads

SPLIT = "training"  # of the run's own folder, where no other is given: nothing is measured on it


@dataclass(frozen=True, eq=False)
class References:
    """What a baseline is made of.

    Attributes:
        configuration: of the run, for its methods and trace options; arm: slug of the baseline's.
        paths: of the pictures, at least one.
    """

    model: LoadedModel
    configuration: Configuration
    arm: str
    paths: Sequence[Path]

    def subjects(self, limit: int | None = None, progress: Progress = silent) -> Iterator[Subject]:
        """Yield each picture as it is, for its top-1 class, and as the run shows its own where a trigger is pasted.

        One picture is held at a time. What is no picture is left out.

        Args:
            limit: at most how many pictures, spread over the folder.
        """
        paths = spread(list(self.paths), limit)
        for index, path in enumerate(paths):
            progress(index, len(paths), f"{ARMS[self.arm].title}: {path.name}")
            try:
                picture = load_picture(path.read_bytes(), name=path.name)
            except PictureError:
                continue
            seed = seed_of(self.configuration.seed, picture.sha256)
            yield Subject(self.model, picture, int(predict(self.model, picture).argmax()), seed)
            case = case_of(self.model, self.configuration, picture)
            if case is not None and case.trigger:
                yield case.subject


def reference_pictures(
    configuration: Configuration, images: str | Path, measured: Sequence[Path], reference: str | Path | None
) -> list[Path]:
    """Return the pictures that the arms of a folder are made of; none where there is no such arm.

    Args:
        images: the run's folder; measured: its pictures that are measured.
        reference: a folder; None: the pictures of the split ``SPLIT`` of the run's own.

    Raises:
        ConfigError: there are none, pictures would be measured by what is made of them, or no arm needs any.
    """
    arms = configuration.of_folder
    if not arms:
        if reference is not None:
            needed = ", ".join(slug for slug, arm in ARMS.items() if arm.folder)
            raise ConfigError(f"Only the arms {needed} are made of a folder: leave --reference out, or name one.")
        return []
    if reference is not None:
        if not (found := pictures_in(reference, "--reference a folder of pictures")):
            raise ConfigError(f"The folder {str(reference)!r} holds no pictures: give another --reference.")
        return found
    found = split_of(images, SPLIT)
    if set(found) & set(measured):
        raise ConfigError(
            f"The arm {arms[0]} is made of pictures that are not measured: give --reference DIR, a folder of others, "
            "or take --split tuning or reporting of a folder of at least ten pictures."
        )
    return found


def made_of(
    model: LoadedModel, configuration: Configuration, paths: Sequence[Path], progress: Progress = silent
) -> Mapping[str, Replacement]:
    """Make what each arm of a folder replaces, by its slug; the same bits whenever it is made again."""
    arms, found = configuration.of_folder, {}
    with threads(configuration.threads):
        for index, arm in enumerate(arms):
            make = resolve_name(f"{__package__}.{ARMS[arm].folder}")
            part = span(progress, index / len(arms), (index + 1) / len(arms))
            found[arm] = make(References(model, configuration, arm, paths), part)
    return found
