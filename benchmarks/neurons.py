"""What a step of a neuron visualization costs, beside one forward and backward pass of the network alone.

    python -m benchmarks.neurons --runs 5

Both are timed alternately in the same process. The pass alone runs at the sizes that the network receives during the
drawing (the transforms enlarge the image and scale it at random); it takes the gradient of the class logit to the
input.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import ClassVar

import numpy as np
import torch
from torch import nn

import spade_core as sc
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.rendering import RenderConfig, render


class Recorder(nn.Module):
    """Runs ``network`` and notes the size of its input; a hook would not survive the drawing's private copy."""

    sizes: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        self.sizes.append((x.shape[2], x.shape[3]))
        return self.network(x)


def received_sizes(model: LoadedModel, config: RenderConfig) -> list[tuple[int, int]]:
    """Return height and width of the network's input at every step."""
    render(model, {"dense": Recorder(model.module)}, [Neuron(LOGITS, 105)], config)
    return Recorder.sizes[-config.steps :]


def seconds_of_passes(model: LoadedModel, sizes: list[tuple[int, int]]) -> float:
    """Return the seconds of one forward and backward pass to the input at each size."""
    module, total = share_copy(model.module), 0.0
    for height, width in sizes:
        x = torch.randn(1, 3, height, width, device=model.device).contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        start = now(model)
        torch.autograd.grad(module(x)[0, 105], x)
        total += now(model) - start
    return total


def seconds_of_drawing(model: LoadedModel, config: RenderConfig) -> float:
    """Return the seconds of all steps: the loop's own figure, or on an accelerator the whole drawing's.

    There the loop's own clock does not wait for what a step has only asked for.
    """
    start = now(model)
    found = render(model, {"dense": model.module}, [Neuron(LOGITS, 105)], config)["dense"][0]
    return now(model) - start if model.device.type == "cuda" else found.seconds


def now(model: LoadedModel) -> float:
    """Return the time in seconds, once everything that was asked of the accelerator is done."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neurons", description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    model = sc.load_model(options.model, device=options.device)
    config = RenderConfig(steps=options.steps, size=options.size)
    sizes = received_sizes(model, config)
    seconds_of_passes(model, sizes)
    steps, passes = [], []
    for _ in range(options.runs):
        steps.append(seconds_of_drawing(model, config) / options.steps)
        passes.append(seconds_of_passes(model, sizes) / options.steps)
    ratios = np.array(steps) / np.array(passes)
    sys.stdout.write(
        f"{model.name}, {options.size} px, received: {np.mean(sizes):.0f} px on average, {options.runs} runs\n"
        f"a step {1000 * np.median(steps):.1f} ms [{1000 * min(steps):.1f}, {1000 * max(steps):.1f}], "
        f"the passes alone {1000 * np.median(passes):.1f} ms [{1000 * min(passes):.1f}, {1000 * max(passes):.1f}], "
        f"ratio {np.median(ratios):.2f} [{ratios.min():.2f}, {ratios.max():.2f}]\n"
    )


if __name__ == "__main__":
    main()
