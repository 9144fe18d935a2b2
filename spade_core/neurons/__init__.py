"""Neuron visualizations of dense models and traces, on Lucent's parametrization (SPADE, section 4).

Here is how a neuron is named and by what a layer's are ranked; what computes is in the modules, and imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from spade_core.errors import ConfigError, LayerError
from spade_core.models.naming import layer_title, titled

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LOGITS",
    "PARAMETRIZATIONS",
    "RANKINGS",
    "REFERENCES",
    "STARTS",
    "LayerShape",
    "Neuron",
    "Parametrization",
    "Ranking",
    "Start",
    "split_token",
]

LOGITS = "logits"
"""Name of the network's own output, beside the names of its modules."""
REFERENCES = 9  # natural pictures that are shown beside a drawing


def split_token(layer: str) -> tuple[str, int | None]:
    """Return the module's name of a layer, and of ``NAME@INDEX`` the token's index."""
    name, _, index = layer.rpartition("@")
    return (name, int(index)) if name and index.isdecimal() else (layer, None)


@dataclass(frozen=True)
class Neuron:
    """What is visualized; JSON-able.

    Attributes:
        layer: name of a module, ``logits``, or ``NAME@INDEX``: one token of what a module puts out, 0 the class token.
        channel: index of the channel or class; None for a direction.
        position: ``(row, column)`` of a single neuron; None: the whole channel.
        direction: weights over the channels, for a direction.
    """

    layer: str = LOGITS
    channel: int | None = None
    position: tuple[int, int] | None = None
    direction: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.channel is None) == (self.direction is None):
            raise ConfigError("Choose either a channel or a direction of the layer.")
        if self.direction is not None and self.position is not None:
            raise ConfigError("A direction is visualized over all places: leave the position out.")

    def check(self, shape: tuple[int, int, int]) -> None:
        """Check against the layer's ``(channels, rows, columns)``.

        Raises:
            LayerError: there is no such channel or place.
        """
        channels, rows, columns = shape
        if self.channel is not None and not 0 <= self.channel < channels:
            raise LayerError(
                f"The layer {self.layer} has the channels 0 to {channels - 1}, not {self.channel}: choose one of them."
            )
        if self.direction is not None and len(self.direction) != channels:
            raise LayerError(f"A direction of {self.layer} has {len(self.direction)} weights: give {channels}.")
        if self.position is not None and not (0 <= self.position[0] < rows and 0 <= self.position[1] < columns):
            raise LayerError(
                f"The layer {self.layer} has {rows} x {columns} places, and not {self.position}: choose one of them."
            )

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Neuron:
        """Rebuild what :meth:`to_dict` gave."""
        lists = {key: tuple(values[key]) for key in ("position", "direction") if values.get(key) is not None}
        return cls(**{**values, **lists})

    def called(self, labels: Sequence[str]) -> str:
        """Return what people call it, shortly, as in a sentence; ``labels``: names of the network's classes."""
        if self.layer == LOGITS and self.channel is not None:
            return labels[self.channel].split(",")[0]
        what = "a direction" if self.channel is None else f"channel {self.channel}"
        place = "" if self.position is None else ", row {}, column {}".format(*self.position)
        return f"{layer_title(self.layer)}, {what}{place}"

    def __str__(self) -> str:
        what = "direction" if self.channel is None else f"channel {self.channel}"
        place = "" if self.position is None else f" at {self.position}"
        return f"{self.layer}, {what}{place}"


@dataclass(frozen=True)
class LayerShape:
    """One layer that can be read.

    Attributes:
        name: of the module, or ``NAME@0`` of the class token of its output; kind: its class.
        channels, rows, columns: of its maps; 1 x 1 where it has no places.
        advice: why it is one of those most worth drawing, or empty.
    """

    name: str
    kind: str
    channels: int
    rows: int
    columns: int
    advice: str = ""

    def __str__(self) -> str:
        star = "★ " if self.advice else ""
        return f"{star}{titled(self.name)} · {self.channels} x {self.rows} x {self.columns}"


@dataclass(frozen=True)
class Seen:
    """One layer's maps ``(channels, rows, columns)`` of the picture, and the target's gradients, in both networks."""

    dense: Tensor
    spade: Tensor
    gradient: Tensor
    spade_gradient: Tensor


@dataclass(frozen=True)
class Ranking:
    """A way to rank channels; its score is the function of its slug's name in ``ranking``."""

    slug: str
    title: str
    help: str

    def score(self, seen: Seen) -> Tensor:
        """Return a score for each channel, ``(channels,)``."""
        return resolve_name(f"{__name__}.ranking:{self.slug}")(seen)


_HELP = {
    "activation": "Mean value of the channel on this picture, dense model.",
    "gradient": "The channel's share of the linearized logit of the explained class, dense model.",
    "kept": "The same share in the trace: what of the channel the trace still uses.",
    "change": "Relative change of the channel's pre-activation output, all pruned inputs and own weights included.",
}
_TITLES = {
    "activation": "Activation",
    "gradient": "Gradient x activation",
    "kept": "The same in the trace",
    "change": "Changed by SPADE",
}
RANKINGS: dict[str, Ranking] = {slug: Ranking(slug, title, _HELP[slug]) for slug, title in _TITLES.items()}


@dataclass(frozen=True)
class Parametrization:
    """What is free in an image while it is drawn; ``rate``: Adam's learning rate that suits it."""

    title: str
    help: str
    rate: float


PARAMETRIZATIONS: dict[str, Parametrization] = {
    "fourier": Parametrization(
        "Fourier", "The whole spectrum is free, as in the paper: most excitement, many rays.", 0.05
    ),
    "maco": Parametrization("MACO", "Natural magnitudes, only the phases are free: parts as in a photograph.", 0.3),
}


@dataclass(frozen=True)
class Start:
    """Where a drawing begins."""

    title: str
    help: str


STARTS: dict[str, Start] = {
    "noise": Start("Noise", "The drawing says what the neuron looks for, whatever the picture."),
    "picture": Start(
        "The picture", "An accentuation of this picture: what is there already says nothing of the neuron."
    ),
}
