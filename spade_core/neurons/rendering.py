"""Draw the picture that excites a neuron, for a dense model and for its trace alike.

After SPADE, section 4, and Olah et al. 2017.

The loop is ours: Lucent's own leaks hooks, opens a viewer, and has neither progress nor cancel. Every step seeds the
transforms anew from the run's seed, so dense model and trace see the same initial noise and the same transforms at
the same step, and only their weights differ. Lucent also decides on its device once, at import, for its FFT image and
its transforms: the GPU where there is one; here they work on the model's (``parametrizations``).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from lucent.optvis import transform as lucent_transform
from torch import Tensor, nn

from spade_core.errors import ConfigError
from spade_core.isolation import alone, seed_all
from spade_core.models.loaded import LoadedModel
from spade_core.neurons import PARAMETRIZATIONS, STARTS, Neuron
from spade_core.neurons.layer_values import maps_of, read_layers
from spade_core.neurons.objectives import build_aims
from spade_core.neurons.parametrizations import Images, lucent_on
from spade_core.neurons.passes import Ascent, Pass, fastest, fold_norms
from spade_core.pictures.picture import Picture
from spade_core.pictures.size import Size, as_size, sides_of
from spade_core.progress import Progress, rising, silent, span, timely
from spade_core.pruning.kinds import OneOf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIVE = 1.0  # seconds between two intermediate pictures
RETRIES = 2
GREY = 2 / 255  # standard deviation over the places, of an image in [0, 1], below which nothing is to be seen
MOST_STEPS, LEAST_SIZE, MOST_SIZE = 4096, 16, 512
ACCENTUATION = "The drawing began from the picture: only what changed says something about the neuron."
HEAD_START = 8  # steps of the first network before the others, which may still have to be made

Show = Callable[[str, np.ndarray, int], object]
Late = Callable[[], nn.Module]
"""Makes a network once its turn comes."""


@dataclass(frozen=True)
class RenderConfig:
    """How to draw; the defaults are the paper's (its notebook, and Lucent's defaults behind it).

    Attributes:
        steps: of the optimizer; size: long side of the image, px, which has the shape of the model's input.
        rate: Adam's learning rate; None: the parametrization's own.
        seed: of the initial noise and of the transforms.
        transforms: whether the robustness transforms are applied.
        diversity, matching: weights of the optional terms, see ``objectives``.
        patience: steps without a better value after which the dense image, and with it its pairs, stops; None: never.
        parametrization: slug of ``PARAMETRIZATIONS``; start: of ``STARTS``.
    """

    steps: int = 512
    size: int = 224
    rate: float | None = None
    seed: int = 0
    transforms: bool = True
    diversity: float = 0.0
    matching: float = 0.0
    patience: int | None = None
    parametrization: str = "fourier"
    start: str = "noise"

    def __post_init__(self) -> None:
        OneOf("parametrization", PARAMETRIZATIONS).check(self.parametrization)
        OneOf("start", STARTS).check(self.start)
        if not 1 <= self.steps <= MOST_STEPS:
            raise ConfigError(f"The number of steps must lie between 1 and {MOST_STEPS}, not {self.steps}.")
        if not LEAST_SIZE <= self.size <= MOST_SIZE:
            raise ConfigError(f"The size must lie between {LEAST_SIZE} and {MOST_SIZE} px, not {self.size}.")
        if self.rate is not None and not 0 < self.rate <= 10:
            raise ConfigError(f"The learning rate must lie between 0 and 10, not {self.rate}.")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"The seed must be a whole number from 0 to 2^31 - 1, not {self.seed}.")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"The patience must be at least 1 step, not {self.patience}.")

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RenderConfig:
        """Rebuild what :meth:`to_dict` gave; what is not there has its default.

        Raises:
            ConfigError: an option is unknown or cannot be used.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"An option of the visualization is unknown ({error}): leave it out.") from error


@dataclass(frozen=True, eq=False)
class Rendering:
    """One drawn image.

    Attributes:
        image: uint8 ``(height, width, 3)``.
        values: what was maximised at every step, float64 ``(steps,)``, under that step's transform.
        neuron, seed, steps: what was drawn, from which noise, and how many steps it took.
        network_size: of what the network received where its input size is fixed, else None.
        seconds: of the drawing; notes: sentences about retries and dead results.
    """

    image: np.ndarray
    values: np.ndarray
    neuron: Neuron
    seed: int
    steps: int
    network_size: Size | None
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def dead(self) -> str | None:
        """Why nothing was drawn, as the end of a sentence, or None."""
        if not np.isfinite(self.values).all():
            return "its values are not finite"
        if len(self.values) > 1 and not self.values.max() > self.values[0]:
            return "the neuron did not respond"
        if self.image.std((0, 1)).max() / 255 < GREY:  # of each channel: one colour all over shows nothing either
            return "the image stayed of one colour"
        return None

    def plot(self, ax: Axes | None = None) -> Axes:
        """Show the drawing on matplotlib axes, those of a new figure without ``ax``; return them."""
        from spade_core.pictures.plotting import axes_for, draw_picture

        return draw_picture(axes_for(ax), self.image, f"Drawing of {self.neuron}")

    def _repr_html_(self) -> str:
        from spade_core.pictures.markup import card_html, facts_html, picture_html

        title = f"Drawing of {self.neuron}"
        facts = {"steps": self.steps, "seed": self.seed, "seconds": f"{self.seconds:.1f}"}
        said = f"What excites it: {self.values[-1]:.3g} at the last step"
        return card_html(title, picture_html(self.image, said, title), facts_html(facts), notes=self.notes)


def render(
    model: LoadedModel,
    networks: Mapping[str, nn.Module | Late],
    neurons: Sequence[Neuron],
    config: RenderConfig | None = None,
    *,
    picture: Picture | None = None,
    late: float = 0.0,
    progress: Progress = silent,
    on_image: Show = lambda *_: None,
) -> dict[str, list[Rendering]]:
    """Draw every neuron for every network; networks share noise, transforms, retries and stops.

    Args:
        model: whose input and device count.
        networks: name -> module, such as ``{"dense": model.module, "spade": trace.module}``; not changed. The first one
            decides on an early stop, and a few of its steps come before everything else; the others may be functions
            that make the module, so that the first picture need not wait for a trace.
        neurons: one image each; several share each pass as one batch.
        picture: ``matching`` draws towards its mean activation in the first neuron's layer, network by network, and
            the start ``picture`` begins from what the model sees of it.
        late: most of the progress that is over once all networks are there; their makers report it themselves.
        progress: called before every step of every network with the share of the time, as the steps so far took it, and
            a note that names what is drawn; may raise ``Cancelled``.
        on_image: called about every second with the network's name, uint8 ``(n, height, width, 3)`` and the step.

    Returns:
        network -> one rendering for each neuron, in their order.

    Raises:
        LayerError: there is no such layer or channel.
        ConfigError: no neuron or network; diversity of one image; matching, or a start from, no picture.
    """
    config = config or RenderConfig()
    if not neurons or not networks:
        raise ConfigError("Choose at least one neuron and one network.")
    if config.diversity and len(neurons) == 1:
        raise ConfigError("Diversity keeps several images apart: draw at least two, or leave it out.")
    if config.matching and picture is None:
        raise ConfigError("Matching needs the mean activation of a picture: give one, or leave it out.")
    if config.start == "picture" and picture is None:
        raise ConfigError("A start from the picture needs one: give it, or start from noise.")
    notes: list[str] = []
    progress = rising(progress)
    reports = span(progress, 0.0, late), timely(progress)
    for attempt in range(RETRIES + 1):
        seed = config.seed + attempt * 1000
        told = (reports[1], reports[1]) if attempt or not late else reports
        run = _Run(model, networks, tuple(neurons), config, seed, picture, told, on_image)
        with alone(seed, progress), lucent_on(model.device), torch.enable_grad():
            found = run.draw(tuple(notes))
        dead = [(name, item) for name, items in found.items() for item in items if item.dead]
        if not dead or attempt == RETRIES:
            break
        name, item = dead[0]
        why = f"the {name} image of {item.neuron} failed ({item.dead})"
        notes.append(f"With seed {seed} {why}; another seed was taken.")
    return found


@dataclass(eq=False)
class _Canvas:
    """The images of one network while they form, and what was maximised at every step so far."""

    name: str
    images: Images
    optimizer: torch.optim.Optimizer
    ascend: Ascent
    values: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(eq=False)
class _Run:
    """One attempt at drawing all neurons on all networks, see :func:`render`.

    Attributes:
        reports: of the progress until all networks are there, and then.
        shown: when images were shown last.
    """

    model: LoadedModel
    networks: Mapping[str, nn.Module | Late]
    neurons: tuple[Neuron, ...]
    config: RenderConfig
    seed: int
    picture: Picture | None
    reports: tuple[Progress, Progress]
    on_image: Show
    shown: float = 0.0

    def __post_init__(self) -> None:
        # The paper's transforms are Lucent's standard ones: pad, jitter, scale, rotate, jitter.
        transforms = lucent_transform.standard_transforms if self.config.transforms else []
        self.transform = lucent_transform.compose(transforms)
        one = self.neurons[0].called(self.model.labels)
        self.drawn = one if len(set(self.neurons)) == 1 else f"{len(self.neurons)} neurons"
        self.size = _shaped_as(self.model, self.config.size)
        self.network_size = _fixed_size(self.model, self.size)

    def draw(self, notes: tuple[str, ...]) -> dict[str, list[Rendering]]:
        steps = self.config.steps
        self.progress, after = self.reports
        with contextlib.ExitStack() as stack:
            (first, *others) = self.networks.items()
            canvases = [self._open(*first, stack)]
            self._advance_all(canvases, range(min(HEAD_START, steps)))
            canvases += [self._open(name, network, stack) for name, network in others]
            self.progress = after
            if others:
                self._advance_all(canvases[1:], range(len(canvases[0].values)))
            if not self._is_over(canvases[0]):
                self._advance_all(canvases, range(len(canvases[0].values), steps))
            self.progress(steps, steps, "drawn")
            return {canvas.name: self._results(canvas, notes) for canvas in canvases}

    def _advance_all(self, canvases: list[_Canvas], steps: range) -> None:
        """Advance the canvases side by side, and show them about every second and at the end."""
        for step in steps:
            self._advance(canvases, step)
            over = self._is_over(canvases[0])
            if time.monotonic() - self.shown >= LIVE or step == steps[-1] or over:
                self.shown = time.monotonic()
                for canvas in canvases:
                    self.on_image(canvas.name, canvas.images.pixels(), step)
            if over:
                break

    def _open(self, name: str, network: nn.Module | Late, stack: contextlib.ExitStack) -> _Canvas:
        """Return a blank canvas; its hooks live as long as ``stack``."""
        config, layers = self.config, tuple({neuron.layer for neuron in self.neurons})
        given = network if isinstance(network, nn.Module) else network()
        received = sides_of(self.network_size or self.size)
        noise = torch.rand((1, 3, *received), generator=torch.Generator().manual_seed(self.seed))
        module = fold_norms(given, self._received(noise.to(self.model.device)), read=layers)
        # A neuron that is drawn again begins with the noise of the next seed.
        seeds = [self.seed + self.neurons[:number].count(neuron) for number, neuron in enumerate(self.neurons)]
        images = Images.begin(config.parametrization, seeds, self.size, self.model.device, self._start())
        rate = PARAMETRIZATIONS[config.parametrization].rate if config.rate is None else config.rate
        optimizer = torch.optim.Adam(images.leaves, lr=rate)
        match = None
        if config.matching and self.picture is not None:
            match = maps_of(given, self.model.input(self.picture), self.neurons[0].layer).mean((1, 2))
        aims = partial(build_aims, self.neurons, diversity=config.diversity, matching=config.matching, match=match)
        plain = Pass(module, stack.enter_context(read_layers(module, layers)), aims)
        return _Canvas(name, images, optimizer, fastest(plain, self.model.device))

    def _start(self) -> Tensor | None:
        """Return the picture that the images begin from, ``(1, 3, height, width)`` in [0, 1]; None: noise."""
        if self.config.start == "noise" or self.picture is None:
            return None
        return torch.from_numpy(self.model.preprocessing.crop(self.picture)).permute(2, 0, 1)[None].float() / 255

    def _received(self, x: Tensor) -> Tensor:
        """Return images in [0, 1] as the network takes them."""
        return self.model.preprocessing.normalize(x).contiguous(memory_format=torch.channels_last)

    def _advance(self, canvases: list[_Canvas], step: int) -> None:
        """Take one step on every canvas; the transforms are the same for all and run once."""
        start = time.perf_counter()
        seed_all((self.seed * 1_000_003 + step) % 2**31)
        x = self.transform(torch.cat([canvas.images() for canvas in canvases]))
        if self.network_size is not None:
            x = F.interpolate(x, sides_of(self.network_size), mode="bilinear", align_corners=False)
        x = self._received(x)
        gradients = []
        for canvas, part in zip(canvases, x.detach().split(len(self.neurons)), strict=True):
            self.progress(step, self.config.steps, f"drawing {self.drawn}: step {step + 1} of {self.config.steps}")
            values, gradient = canvas.ascend(part)
            canvas.values.append(values)
            gradients.append(gradient)
        leaves = [leaf for canvas in canvases for leaf in canvas.images.leaves]
        for leaf, gradient in zip(leaves, torch.autograd.grad(x, leaves, torch.cat(gradients)), strict=True):
            leaf.grad = gradient
        for canvas in canvases:
            canvas.optimizer.step()
            canvas.seconds += (time.perf_counter() - start) / len(canvases)

    def _is_over(self, canvas: _Canvas) -> bool:
        """Whether the first network's image has stopped improving; the others do not decide."""
        patience = self.config.patience
        if patience is None or len(canvas.values) <= patience or canvas.name != next(iter(self.networks)):
            return False
        sums = torch.stack(canvas.values).sum(1)
        return bool(sums[-patience:].max() <= sums[:-patience].max())

    def _results(self, canvas: _Canvas, notes: tuple[str, ...]) -> list[Rendering]:
        pixels, values = canvas.images.pixels(), torch.stack(canvas.values).cpu().numpy().astype(np.float64)
        if self.config.start == "picture":
            notes = (*notes, ACCENTUATION)
        shared = (self.seed, len(values), self.network_size, canvas.seconds, notes)
        found = []
        for number, neuron in enumerate(self.neurons):
            item = Rendering(pixels[number], values[:, number], neuron, *shared)
            said = f"Nothing was drawn for {neuron}: {item.dead}."
            found.append(replace(item, notes=(*notes, said)) if item.dead else item)
        return found


def _shaped_as(model: LoadedModel, size: int) -> Size:
    """Return the size of an image whose long side is ``size``, of the shape of the model's input."""
    sides = model.preprocessing.sides
    return as_size([max(1, round(size * side / max(sides))) for side in sides])


def _fixed_size(model: LoadedModel, size: Size) -> Size | None:
    """Return the only input size that the network takes, or None where it takes the transforms' sizes."""
    tried = (as_size([side + more for side in sides_of(size)]) for more in (25, 27))
    other = next(one for one in tried if one != model.preprocessing.size)
    try:
        with torch.no_grad():
            model.module(model.grey(other))
    except (AssertionError, RuntimeError, ValueError):
        return model.preprocessing.size
    return None
