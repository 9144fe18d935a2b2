"""The command ``app``: the pages, served by Streamlit."""

from __future__ import annotations

import argparse
import os
import socket
import sys

from spade_core.config import APP
from spade_core.errors import ConfigError

# The server ends by raising the signal that stopped it once more, which this turns into an ordinary end.
SERVE = """
import signal, sys
from streamlit.web.cli import main
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: sys.exit(0))
main()
"""


def run_app(options: argparse.Namespace) -> int:
    if options.port is not None and not 1 <= options.port <= 65535:
        raise ConfigError(f"There is no port {options.port}: give --port a number from 1 to 65535.")
    if options.port is not None or options.address is not None:
        _try_to_bind(options.address or "127.0.0.1", options.port or 0)
    given = {"--server.port": options.port, "--server.address": options.address}
    words = [f"{name}={value}" for name, value in given.items() if value is not None]
    # -P: a file in the current folder must not shadow a library's module. The server takes this process's place, and
    # hears its signals.
    command = [sys.executable, "-P", "-c", SERVE, "run", str(APP), *words, *options.streamlit]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell


def _try_to_bind(address: str, port: int) -> None:
    try:
        (family, _, _, _, place), *_ = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
        with socket.socket(family) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(place)
    except OSError as error:
        where = f"{address}, port {port}" if port else address
        raise ConfigError(f"Nothing can be served at {where} ({error.strerror}): take another one.") from None
