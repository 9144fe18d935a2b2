"""Start a Streamlit server for a measurement or a test, and stop it again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]  # of Chromium


@contextmanager
def serving(script: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a script's server for a while; yield its address."""
    process, url = start_server(script, environment)
    try:
        yield url
    finally:
        stop_server(process)


def start_server(
    script: str, environment: Mapping[str, str], *, port: int | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server of a script (a path from the project's root) and wait until it answers.

    Args:
        environment: added to the present one, in which ``SPADE_DEVICE`` is left out.
        port: of the loopback address; None: a free one.
    """
    port = port or free_port()
    given = {name: value for name, value in os.environ.items() if name != "SPADE_DEVICE"}
    process = subprocess.Popen(  # noqa: S603 - our own server
        [sys.executable, "-m", "streamlit", "run", script, "--server.port", str(port)],
        cwd=ROOT, env={**given, "PYTHONPATH": str(ROOT), **environment}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1)  # noqa: S310 - our own server
            break
        except OSError:
            time.sleep(0.05)
    return process, url


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """Stop a server; kill it where it does not listen."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
