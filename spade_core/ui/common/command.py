"""The command that makes what a page shows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from spade_core.ui.common.link import Choice


def command_line(choice: Choice, spec: Mapping[str, Any], picture: str) -> str:
    """Return the command that computes the same analysis."""
    words = ["python", "-m", "spade_core", "explain", *picture_words(choice, spec, picture)]
    for slug in choice.methods:
        words += ["--method", slug]
    words += ["--target", str(choice.target)] if choice.target is not None else []
    return shlex.join([*words, *trace_words(choice), "--out", "results"])


def picture_words(choice: Choice, spec: Mapping[str, Any], picture: str) -> list[str]:
    """Return the command's options of picture, trigger and model."""
    words = ["--image", picture]
    words += ["--model", spec["name"]] if "name" in spec else ["--weights", "FILE", "--arch", spec["arch"]]
    trigger = choice.trigger
    if trigger is not None:
        words += ["--trigger", trigger.trigger, "--trigger-seed", str(trigger.seed)]
        words += ["--trigger-size", str(trigger.size)] if trigger.size is not None else []
        words += ["--trigger-position", "{},{}".format(*trigger.position)] if trigger.position is not None else []
    return words


def trace_words(choice: Choice) -> list[str]:
    """Return the command's options of the trace."""
    words = ["--preset", choice.preset, "--solver", choice.solver, "--seed", str(choice.seed)]
    if choice.preset == "uniform":
        words += ["--sparsity", f"{choice.sparsity:g}"]
    if choice.preset == "custom":
        words += [word for stage, ratio in choice.stages.items() for word in ("--stage", f"{stage}={ratio:g}")]
    for option, value in (("--calibration", choice.calibration), ("--views", choice.views)):
        words += [option, str(value)] if value is not None else []
    return words
