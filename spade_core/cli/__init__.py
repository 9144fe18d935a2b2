"""The command line: ``python -m spade_core COMMAND``.

Bad input ends with one sentence on standard error and exit code 2, an interrupted run with 130. Progress goes to
standard error, results to standard output. The heavy libraries are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from spade_core import __version__
from spade_core.cli import explain, lists, neurons, rater, trojan
from spade_core.cli.study import running as study
from spade_core.errors import SpadeError
from spade_core.memory import keep_freed_memory

__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    keep_freed_memory()
    try:
        return options.run(options)
    except SpadeError as error:
        sys.stderr.write(f"spade_core: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nspade_core: stopped.\n")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m spade_core", description="See why a vision model decided what it did on one image."
    )
    parser.add_argument("--version", action="version", version=f"SPADE Studio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in (lists, explain, neurons, rater, trojan, study):
        group.register(commands)
    return parser
