"""The command that makes what a page shows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath

from spade_core.pictures.frame import CENTRE
from spade_core.pictures.size import as_size, size_text
from spade_core.pruning.options import BUNDLE_OPTIONS, TRACE_OPTIONS, BundleOptions
from spade_core.saliency import METHOD_OPTIONS
from spade_core.ui.common.link import Choice


def explain_command(choice: Choice, spec: Mapping[str, object], picture: str) -> str:
    """Return the command that computes the same analysis; ``picture`` is its name, ``spec`` the model's."""
    methods = [word for slug in choice.methods for word in ("--method", slug)]
    options = METHOD_OPTIONS.words("--option", choice.options)
    own = [*methods, *options, *_target(choice), *_bundle(choice.bundle())]
    return _command("explain", choice, spec, picture, own)


def neuron_command(choice: Choice, spec: Mapping[str, object], picture: str) -> str:
    """Return the command that draws the same neuron."""
    if choice.layer == "logits":
        words = ["--class", str(choice.channel)]
    else:
        words = ["--layer", str(choice.layer), "--channel", str(choice.channel)]
        words += ["--position", "{},{}".format(*choice.position)] if choice.position is not None else []
        words += _target(choice)
    words += ["--steps", str(choice.steps)]
    words += ["--images", str(choice.images)] if choice.images > 1 else []
    words += ["--parametrization", choice.parametrization] if choice.parametrization != "fourier" else []
    words += ["--start", choice.start] if choice.start != "noise" else []
    return _command("visualize", choice, spec, picture, words)


def trace_command(choice: Choice, spec: Mapping[str, object], picture: str) -> str:
    """Return the command that writes the same trace."""
    return _command("trace", choice, spec, picture, _target(choice), out="trace.safetensors")


def folder_command(choice: Choice, spec: Mapping[str, object], images: str) -> str:
    """Return the command that explains the same folder or archive."""
    methods = [word for slug in choice.methods for word in ("--method", slug)]
    words = [*methods, *METHOD_OPTIONS.words("--option", choice.options)]
    return _command("explain", choice, spec, images, words, given="--images")


def _command(
    name: str,
    choice: Choice,
    spec: Mapping[str, object],
    picture: str,
    own: list[str],
    *,
    given: str = "--image",
    out: str = "results",
) -> str:
    """Return a command with the options of picture, trigger, model and trace beside its ``own``."""
    words = ["python", "-m", "spade_core", name, given, picture]
    words += ["--model", str(spec["name"])] if "name" in spec else _own_weights(spec)
    words += ["--frame", choice.frame] if choice.frame != str(CENTRE) else []
    trigger = choice.trigger
    if trigger is not None:
        words += ["--trigger", trigger.trigger, "--trigger-seed", str(trigger.seed)]
        words += ["--trigger-size", str(trigger.size)] if trigger.size is not None else []
        words += ["--trigger-position", "{},{}".format(*trigger.position)] if trigger.position is not None else []
    words += own
    for option, value in choice.trace_arguments().items():
        words += TRACE_OPTIONS[option].kind.words(TRACE_OPTIONS[option].flag, value)
    return shlex.join([*words, "--out", out])


def _own_weights(spec: Mapping[str, object]) -> list[str]:
    """Return the words of uploaded weights, whose files people know by their names."""
    words = [
        "--weights",
        PurePath(str(spec["weights"])).name,
        *(["--arch", str(spec["arch"])] if "arch" in spec else []),
    ]
    words += ["--classes", PurePath(str(spec["classes"])).name] if "classes" in spec else []
    for name in ("mean", "std"):
        values = spec.get(name)
        words += [f"--{name}", ",".join(f"{value:g}" for value in values)] if isinstance(values, list) else []
    size = spec.get("size")
    words += ["--size", size_text(as_size(size))] if isinstance(size, int | list | tuple) else []
    return [*words, *(["--output", str(spec["output"])] if "output" in spec else [])]


def _bundle(options: BundleOptions) -> list[str]:
    """Return the words of what is not at its default; of a single trace none."""
    plain = BundleOptions()
    changed = [name for name in BUNDLE_OPTIONS if getattr(options, name) != getattr(plain, name) and options.traces > 1]
    given = ((BUNDLE_OPTIONS[name], getattr(options, name)) for name in changed)
    return [word for option, value in given for word in option.kind.words(option.flag, value)]


def _target(choice: Choice) -> list[str]:
    return [] if choice.target is None else ["--target", str(choice.target)]
