"""The command line: ``python -m spade_core COMMAND``, or ``spade-studio COMMAND`` where it is installed.

Bad input, and a file or folder that cannot be used, ends with one sentence on standard error and exit code 2, an
interrupted run with 130, one whose reader has gone with 141. Progress goes to
standard error, results to standard output. A command's module, and with it the heavy libraries, is imported once the
command is chosen and its options are good.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
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


CLOSED_PIPE = 128 + 13  # as if SIGPIPE had ended the command, which is what a shell expects


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    started = time.perf_counter()
    _speak_any_encoding()
    prog = "spade-studio" if Path(sys.argv[0]).stem == "spade-studio" else "python -m spade_core"
    try:
        try:
            options = build_parser(prog).parse_args(arguments, argparse.Namespace(started=started))
            logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
            logging.getLogger("matplotlib").setLevel(logging.ERROR)  # warns of a home that cannot be written
            keep_freed_memory()
            return resolve_name(f"{__name__}.{options.run}")(options)
        finally:  # here, and not when Python ends, it is heard that the reader has gone
            sys.stdout.flush()
    except SpadeError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        return _leave_quietly()
    except OSError as error:
        return _refuse(_sentence(error))
    except KeyboardInterrupt:
        sys.stderr.write("\nspade_core: stopped.\n")
        return 130


def _speak_any_encoding() -> None:
    """Let terminals and logs that lack a character show its escape, be it of a class name or of a file name.

    A stream that was closed before the command began (``>&-``) is none; what would be written goes nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"spade_core: {sentence}\n")
    return 2


def _sentence(error: OSError) -> str:
    logging.getLogger(__name__).info("refused", exc_info=error)
    place, reason = error.filename or "A file or folder", error.strerror or error
    return f"{place} cannot be used ({reason}): give another place, or set SPADE_DATA_DIR to a writable folder."


def _leave_quietly() -> int:
    """Whoever read the output has gone; what is left in the buffer goes nowhere, also when Python ends."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return CLOSED_PIPE


def build_parser(prog: str = "python -m spade_core") -> argparse.ArgumentParser:
    """Return the parser of all commands; the options it gives name in ``run`` who runs them."""
    parser = argparse.ArgumentParser(prog=prog, description="See why a vision model decided what it did on one image.")
    parser.add_argument("--version", action="version", version=f"SPADE Studio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_commands(commands)
    add_study(commands)
    return parser
