"""The command line: ``python -m spade_core COMMAND``, or ``spade-studio COMMAND`` where it is installed.

Bad input ends with one sentence on standard error and exit code 2, an interrupted run with 130. Progress goes to
standard error, results to standard output. A command's module, and with it the heavy libraries, is imported once the
command is chosen and its options are good.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

from spade_core import __version__
from spade_core.cli.parser import add_commands
from spade_core.cli.study.parser import add_study
from spade_core.errors import SpadeError
from spade_core.memory import keep_freed_memory

__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    started = time.perf_counter()
    prog = "spade-studio" if Path(sys.argv[0]).stem == "spade-studio" else "python -m spade_core"
    options = build_parser(prog).parse_args(arguments, argparse.Namespace(started=started))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    keep_freed_memory()
    try:
        return resolve_name(f"{__name__}.{options.run}")(options)
    except SpadeError as error:
        sys.stderr.write(f"spade_core: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nspade_core: stopped.\n")
        return 130


def build_parser(prog: str = "python -m spade_core") -> argparse.ArgumentParser:
    """Return the parser of all commands; the options it gives name in ``run`` who runs them."""
    parser = argparse.ArgumentParser(prog=prog, description="See why a vision model decided what it did on one image.")
    parser.add_argument("--version", action="version", version=f"SPADE Studio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_commands(commands)
    add_study(commands)
    return parser
