"""The options of a trace on the command line, as ``pruning.options`` declares them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from spade_core.errors import ConfigError
from spade_core.pruning.kinds import Ratios
from spade_core.pruning.options import (
    BUNDLE_OPTIONS,
    RATIO_OPTIONS,
    TRACE_OPTIONS,
    BundleOptions,
    Option,
    TraceOptions,
    checked_bundle,
)
from spade_core.pruning.tables import Table


def add_trace(parser: argparse.ArgumentParser, *, preset: str = "default") -> None:
    """Add the options of a trace; ``preset``: which one a command takes that is given none and no ratio."""
    parser.set_defaults(own_preset=preset)
    group = parser.add_argument_group("trace")
    for name, option in TRACE_OPTIONS.items():
        details: dict[str, Any] = {"help": option.help.format(preset=preset), **option.kind.argument}
        if option.named:
            details["default"] = getattr(TraceOptions(), name)
        group.add_argument(option.flag, **details)


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the options of a bundle of traces."""
    group = parser.add_argument_group("bundle")
    for option in BUNDLE_OPTIONS.values():
        group.add_argument(option.flag, help=option.help, **dict[str, Any](option.kind.argument))


def bundle_options(options: argparse.Namespace) -> BundleOptions:
    """Return how many traces a map is made of, and how."""
    said = {name: _said(options, option) for name, option in BUNDLE_OPTIONS.items()}
    return checked_bundle({name: value for name, value in said.items() if value is not None})


def _said(options: argparse.Namespace, option: Option) -> Any:
    return getattr(options, option.flag.lstrip("-").replace("-", "_"))


def trace_options(options: argparse.Namespace) -> dict[str, object]:
    """Return keyword arguments of ``spade_core.trace`` but for the seed."""
    said: dict[str, Any] = {}
    for name, option in TRACE_OPTIONS.items():
        value = _said(options, option)
        if value is not None:
            said[name] = _ratios(value) if isinstance(option.kind, Ratios) else value
            if isinstance(option.kind, Table):  # what it holds is told in manifests, not where it lay
                said[name] = option.kind.check(value)
    found = TraceOptions(**said).given()
    return found if found.keys() & RATIO_OPTIONS else {"preset": options.own_preset, **found}


def _ratios(items: Sequence[str]) -> dict[str, float]:
    found = {}
    for item in items:
        name, _, ratio = item.partition("=")
        try:
            found[name] = float(ratio)
        except ValueError:
            raise ConfigError(
                f"{item!r} is no ratio of a stage: give --stage NAME=RATIO, such as blocks.3=0.6."
            ) from None
    return found
