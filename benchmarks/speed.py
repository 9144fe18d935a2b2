"""Where the time of one analysis goes, in a warm process.

    python -m benchmarks.speed --runs 5
    python -m benchmarks.speed --model resnet50 --random --trace '{"preset": "paper", "views": 32, "positions": 2048}'

Freed memory stays with the process, as in the command line and the workers. Floors are counted, not guessed: the
floating-point operations of the forward passes that each part cannot do without, over the speed of a plain float32
matrix product measured in the same run. Medians with minimum and maximum, and the median processor seconds, which
other work on the same cores disturbs less.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import spade_core as sc
from spade_core.memory import keep_freed_memory
from spade_core.models.loaded import LoadedModel
from spade_core.models.registry import find_entry
from spade_core.pruning.spade import Wanted, views_of


def timed(compute: Callable[[], object], runs: int) -> tuple[float, float, float, float]:
    """Return median, minimum and maximum of the seconds of ``runs`` calls after a warm-up; and processor seconds."""
    compute()
    found, used = [], []
    for _ in range(runs):
        start, begun = now(), time.process_time()
        compute()
        found.append(now() - start)
        used.append(time.process_time() - begun)
    return float(np.median(found)), min(found), max(found), float(np.median(used))


def now() -> float:
    """Return the time in seconds, once everything that was asked of a GPU is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def matmul_speed(runs: int, device: torch.device) -> float:
    """Return floating-point operations a second of a square float32 product, large enough to fill the device."""
    side = 1536 if device.type == "cpu" else 8192
    a, b = torch.randn(2, side, side, device=device)
    return 2 * side**3 / timed(lambda: a @ b, runs)[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="bundled:dog")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--random", action="store_true", help="random weights, so that nothing is downloaded")
    parser.add_argument("--trace", type=json.loads, default={}, help="options of spade_core.trace as JSON")
    options = parser.parse_args()
    keep_freed_memory()
    load = random_model if options.random else sc.load_model
    model, picture = load(options.model, device=options.device), sc.load_picture(options.image)
    speed = matmul_speed(options.runs, model.device)
    trace = sc.trace(model, picture, **options.trace)
    wanted = [Wanted(picture, None, trace.config)]
    views = views_of(model, wanted).images
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.module(views[:1])
    forward = counter.get_total_flops()
    count = trace.config.views
    parts: dict[str, tuple[Callable[[], object], float]] = {
        f"drawing {count} views": (lambda: views_of(model, wanted), 0.0),
        f"one dense pass over {count} views": (lambda: _dense_pass(model, views), count * forward),
        f"one trace, {trace.config.calibration} (passes, moments, solving)": (
            lambda: sc.trace(model, picture, **options.trace),
            (2 if trace.config.calibration == "sequential" else 1) * count * forward,
        ),
        "saliency of one network": (lambda: sc.explain(model, picture, method="saliency"), 3 * forward),
        "32 steps of integrated gradients of one network": (
            lambda: sc.explain(model, picture, method="integrated_gradients", most_steps=1),
            32 * 3 * forward,
        ),
    }
    sys.stdout.write(
        f"{model.name}, {model.device}, {torch.get_num_threads()} threads, matrix product {speed / 1e9:.0f} GFLOP/s, "
        f"{forward / 1e9:.2f} GFLOP a forward pass, {options.runs} runs\n"
    )
    for name, (compute, flops) in parts.items():
        median, low, high, used = timed(compute, options.runs)
        floor = flops / speed
        times = f"{median / floor:5.1f} x its floor of {floor:.2f} s" if floor else ""
        sys.stdout.write(f"{name:<55} {median:6.2f} s [{low:.2f}, {high:.2f}]  {used:6.2f} CPU s  {times}\n")


def random_model(name: str, *, device: str) -> LoadedModel:
    """Return a registered architecture with random weights, at 224 px."""
    torch.manual_seed(0)
    return sc.wrap_model(find_entry(name).build(1000).eval(), size=224, name=name, device=device)


def _dense_pass(model: LoadedModel, views: torch.Tensor) -> None:
    with torch.no_grad():
        model.module(views)


if __name__ == "__main__":
    main()
