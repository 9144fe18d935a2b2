"""Errors that speak to the person at the page or at the command line.

Every :class:`SpadeError` carries one sentence that says what is wrong and what to do. Pages show it, the command line
prints it and exits with code 2. Anything else that is raised is a bug and is logged with its traceback.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class SpadeError(ValueError):
    """Input that cannot be used; its text is one sentence for the user."""


class ConfigError(SpadeError):
    """A setting, an option or a URL parameter has an unusable value."""


class TakenError(ConfigError):
    """A participant's id is in use, or may not be used again, and nothing shows that it is this person's."""


class DatabaseError(ConfigError):
    """The study database cannot be reached at the moment, or cannot be used."""


class PictureError(SpadeError):
    """A file is not a picture that can be shown to a model."""


class ModelError(SpadeError):
    """A model or its weights are unknown, absent or do not fit."""


class LayerError(SpadeError):
    """A layer name is unknown, or a method cannot be applied to this architecture."""


class JobError(SpadeError):
    """A job ended without a result: its worker died, or the queue is full."""


def expect(value: object, kind: type[T], how: str, error: type[SpadeError] = ConfigError) -> T:
    """Return ``value``, whose kind is as it should be.

    Args:
        how: what has to be given, the start of a sentence.

    Raises:
        SpadeError: the given ``error``; it names the kind that was given.
    """
    if not isinstance(value, kind):
        name = "class" if isinstance(value, type) else type(value).__name__
        raise error(f"{how}, not {'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}.")
    return value
