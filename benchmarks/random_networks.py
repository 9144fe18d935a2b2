"""Random small networks through the one door: the dense model stays as it was, and a trace is what it says.

Each network is a chain of steps drawn at random: convolutions of every kind (grouped, dilated, transposed, with odd
padding), layers used twice, tied weights, branches, activations as modules and as functions, in place and not, poolings
and reshapings. ``check`` raises ``AssertionError`` where a promise is broken; the test suite runs some tens of networks
under hypothesis, this command as many as asked::

    python -m benchmarks.random_networks --count 2000
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spade_core.errors import LayerError, ModelError
from spade_core.isolation import seeded
from spade_core.models.loaded import LoadedModel, Network, predict
from spade_core.models.loading import wrap_model
from spade_core.models.weights import digest
from spade_core.pictures.picture import Picture
from spade_core.pruning.spade import trace
from spade_core.saliency.explanation import Explanation, explain

SIZE, WIDTH, CLASSES = 12, 6, 4
METHODS = ("saliency", "input_x_gradient", "integrated_gradients", "deeplift", "lrp", "guided_backprop", "gradcam")
RELATIVE = 1e-5  # of the largest logit: what a trace with nothing pruned may differ from the dense model
TOLERATED = 0.05  # of the logit difference, see ``saliency.base``

Step = Callable[[nn.Module, Tensor], Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x, inplace=True),
    "relu_": lambda x: x.relu_(),
    "relu6": F.relu6,
    "leaky relu": lambda x: F.leaky_relu(x, 0.1),
    "gelu": F.gelu,
    "silu": F.silu,
    "clamp": lambda x: x.clamp(min=0),
    "clamp both": lambda x: torch.clamp(x, -1, 1),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "mask": lambda x: x * (x > 0),
    "gate": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
}
SHAPINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "add in place": lambda x: x.add_(0.1),
    "scale in place": lambda x: x.mul_(1.1),
    "odd padding": lambda x: F.pad(x, (1, 0, 0, 2)),
    "pool": lambda x: F.max_pool2d(x, 2, stride=1),
    "mean pool": lambda x: F.avg_pool2d(x, 3, stride=1, padding=1),
    "view": lambda x: x.view(x.shape[0], -1).view(x.shape),
    "shuffle": lambda x: x.reshape(x.shape[0], 2, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2),
    "cut": lambda x: x[:, :, 1:, :-1] if min(x.shape[2:]) > 4 else x,
}


class RandomNetwork(nn.Module):
    """A network drawn by ``draw``; ``made`` names its steps."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, WIDTH, 3, padding=1)])
        self.made: list[str] = []
        self.steps: list[Step] = [_call(0)]
        for _ in range(draw.randint(2, 7)):
            self._add(draw)
        self.flat = draw.random() < 0.4
        self.head = nn.Linear(WIDTH * (4 if self.flat else 1), CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(n, classes)``."""
        for step in self.steps:
            x = step(self, x)
        x = F.adaptive_avg_pool2d(x, 2) if self.flat else x.mean((2, 3))
        return self.head(x.reshape(x.shape[0], -1))

    def _add(self, draw: random.Random) -> None:
        kind = draw.choice(
            ("convolution", "function", "function", "shaping", "module", "again", "tie", "branch", "join")
        )
        self.made.append(kind)
        if kind in ("function", "shaping"):
            table = ACTIVATIONS if kind == "function" else SHAPINGS
            name = draw.choice(sorted(table))
            self.made[-1] = name
            self.steps.append(_apply(table[name]))
        elif kind == "again":  # a layer that was there, convolution or activation
            there = [place for place, one in enumerate(self.layers) if getattr(one, "in_channels", WIDTH) == WIDTH]
            self.steps.append(_call(draw.choice(there) if there else self._new(draw)))
        elif kind in ("branch", "join"):
            left, right = self._pointwise(), self._pointwise()
            self.steps.append(_branch(left, right) if kind == "branch" else _join(self._pointwise(2 * WIDTH), left))
        else:
            self.steps.append(_call(self._tied(draw) if kind == "tie" else self._new(draw, module=kind == "module")))

    def _new(self, draw: random.Random, *, module: bool = False) -> int:
        self.layers.append(_module(draw) if module else _convolution(draw))
        return len(self.layers) - 1

    def _pointwise(self, width: int = WIDTH) -> int:
        self.layers.append(nn.Conv2d(width, WIDTH, 1))
        return len(self.layers) - 1

    def _tied(self, draw: random.Random) -> int:
        place = self._new(draw)
        first, second = self.layers[place], nn.Conv2d(WIDTH, WIDTH, 1)
        if type(first) is nn.Conv2d:
            second = nn.Conv2d(WIDTH, WIDTH, first.weight.shape[2], padding=1, groups=first.groups)
            second.weight = first.weight
            if draw.random() < 0.3:  # two parameters in one memory
                second.weight = nn.Parameter(first.weight.data)
        self.layers.append(second)
        self.steps.append(_call(place))
        return place + 1


def _call(place: int) -> Step:
    return lambda net, x: net.get_submodule(f"layers.{place}")(x)


def _apply(function: Callable[[Tensor], Tensor]) -> Step:
    return lambda _net, x: function(x)


def _branch(left: int, right: int) -> Step:
    return lambda net, x: _call(left)(net, x) + F.relu(_call(right)(net, x))


def _join(both: int, one: int) -> Step:
    return lambda net, x: _call(both)(net, torch.cat([x, _call(one)(net, x)], 1))


def _convolution(draw: random.Random) -> nn.Module:
    if draw.random() < 0.2:
        return nn.ConvTranspose2d(WIDTH, WIDTH, draw.choice((1, 2, 3)), groups=draw.choice((1, 2)))
    kernel, groups = draw.choice((1, 2, 3)), draw.choice((1, 2, 3, WIDTH))
    padding: int | str = draw.choice((0, 1, 2, "same")) if kernel > 1 else 0
    return nn.Conv2d(
        WIDTH, WIDTH, kernel, padding=padding, groups=groups, bias=draw.random() < 0.7, dilation=draw.choice((1, 1, 2))
    )


def _module(draw: random.Random) -> nn.Module:
    kinds: dict[str, Callable[[], nn.Module]] = {
        **{one.__name__: one for one in (nn.ReLU, nn.ReLU6, nn.GELU, nn.Sigmoid, nn.Identity, nn.Dropout)},
        "in place": lambda: nn.ReLU(inplace=True),
        "batch norm": lambda: nn.BatchNorm2d(WIDTH),
        "group norm": lambda: nn.GroupNorm(2, WIDTH),
        "pool": lambda: nn.MaxPool2d(3, 1, 1),
    }
    return kinds[draw.choice(sorted(kinds))]()


def draw_picture(draw: random.Random) -> Picture:
    """Return noise."""
    pixels = np.random.default_rng(draw.randrange(2**32)).integers(0, 256, (SIZE + 3, SIZE + 5, 3), dtype=np.uint8)
    return Picture(pixels, f"{draw.randrange(2**32):064x}", "noise", ())


def check(draw: random.Random) -> str:
    """Take one network through the door, traces and maps; return ``explained``, or why it was refused.

    Raises:
        AssertionError: a promise is broken.
    """
    with seeded(draw.randrange(2**32)):
        network = RandomNetwork(draw).eval()
    picture = draw_picture(draw)
    before, refusal = digest(network), ""
    try:
        model = wrap_model(network, size=SIZE, device="cpu")
    except ModelError as error:
        refusal = str(error)
    assert digest(network) == before, network.made
    if refusal:
        assert refusal.count(". ") <= 1, refusal
        return "refused: " + re.sub(r"\(.*|Its part \S+|[\d.]+\S*", "", refusal)[:70]
    with torch.no_grad():
        given = network(model.input(picture)).softmax(1)[0].numpy()
    assert np.abs(given - predict(model, picture)).max() < RELATIVE, network.made
    _check_traces(network, model, picture)
    return "explained"


def _check_traces(network: RandomNetwork, model: LoadedModel, picture: Picture) -> None:
    dense, x = digest(model.module), model.input(picture)
    for ratio in (0.0, 0.6):
        made = trace(model, picture, sparsity=ratio, views=2)
        with torch.no_grad():
            wanted, found = model.module(x), made.module(x)
        if ratio == 0:
            assert float((found - wanted).abs().max()) <= RELATIVE * float(wanted.abs().max()), network.made
        ties = {id(value) for value in model.module.parameters()}
        assert len({id(value) for value in made.module.parameters()}) == len(ties), network.made
        for method in METHODS if ratio else ():
            for one in (model, made):
                _check_map(network, one.module, explain_or_none(one, picture, method), x)
        assert digest(model.module) == dense, network.made


def explain_or_none(network: Network, picture: Picture, method: str) -> Explanation | None:
    """Return the map, or None where the method is refused."""
    try:
        return explain(network, picture, method=method, target=0)
    except LayerError:
        return None


def _check_map(network: RandomNetwork, module: nn.Module, found: Explanation | None, x: Tensor) -> None:
    if found is None:
        return
    assert np.isfinite(found.map).all(), (network.made, found.method)
    if found.method in ("deeplift", "integrated_gradients") and not found.notes:
        with torch.no_grad():
            ends = module(torch.cat([x, torch.zeros_like(x)])).double()
        gap, scale = float(ends[0, 0] - ends[1, 0]), float(ends[:, 0].abs().max())
        missed = abs(float(found.map.sum(dtype=np.float64)) - gap)
        assert missed <= 1.01 * TOLERATED * max(abs(gap), 1e-3 * scale) + 1e-6, (network.made, found.method)


def main() -> None:
    """Check as many networks as asked, and print how many were explained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="of the first network (default: 0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: Counter[str] = Counter()
    start = time.process_time()
    for seed in range(options.first, options.first + options.count):
        try:
            found[check(random.Random(seed))] += 1  # noqa: S311 - a network, no secret
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed is told
            found["wrong"] += 1
            print(f"seed {seed}: {type(error).__name__}: {error}"[:300], flush=True)
        if (seed + 1) % 100 == 0:
            print(
                f"{seed + 1 - options.first} networks, {dict(found)}, {time.process_time() - start:.0f} s", flush=True
            )
    print(dict(found))


if __name__ == "__main__":
    main()
