"""Start a Streamlit server for a measurement or a test, and stop it again."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
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


RUN = "from streamlit.web.cli import main\nmain()"
PATIENCE = 300.0  # seconds until a server has to answer, on a machine that does other things too
PORTS = range(20_000, 26_000)  # below those that the system gives to outgoing connections
_TAKEN: list[socket.socket] = []


@contextmanager
def serving(script: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a script's server for a while; yield its address."""
    process, url = start_server(script, environment)
    try:
        yield url
    finally:
        stop_server(process)


def start_server(
    script: str,
    environment: Mapping[str, str],
    *,
    port: int | None = None,
    first: str = "pass",
    errors: int = subprocess.DEVNULL,
) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server of a script (a path from the project's root) and wait until it answers.

    Args:
        environment: added to the present one, in which ``SPADE_DEVICE`` is left out.
        port: of the loopback address; None: a free one.
        first: Python that the server's process runs before Streamlit.
        errors: file descriptor of its log.

    Raises:
        RuntimeError: the server ended, or does not answer.
    """
    port = port or free_port()
    words = ["-c", f"{first}\n{RUN}", "run", script, "--server.port", str(port)]
    process = start_python(words, environment, errors=errors)
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=10)  # noqa: S310 - our own server
            return process, url
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"the server of {script} does not answer at {url}")


def start_python(
    words: Sequence[str], environment: Mapping[str, str], *, errors: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a process of this Python from the project's root; what it prints goes nowhere.

    Args:
        words: of its command line; environment: added to the present one, in which ``SPADE_DEVICE`` is left out.
        errors: where its standard error goes; None: to this process's.
    """
    given = {name: value for name, value in os.environ.items() if name != "SPADE_DEVICE"}
    return start([sys.executable, *words], {**given, "PYTHONPATH": str(ROOT), **environment}, errors=errors)


def start(
    words: Sequence[str], environment: Mapping[str, str] | None = None, *, errors: int | None = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a program from the project's root; what it prints goes nowhere.

    Args:
        words: of its command line; environment: None: the present one; errors: where its standard error goes.
    """
    return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors)  # noqa: S603


NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {http}
}}
"""


@contextmanager
def nginx(http: str, folder: Path) -> Iterator[None]:
    """Run nginx inside the block, by what its ``http`` block says; its files are in ``folder``."""
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, http=http))
    process = start(["nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off;"])
    time.sleep(1)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """Stop a server; kill it where it does not listen."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def processor_s(pid: int) -> float:
    """Return the processor seconds that a process and its children have taken, as Linux counts them."""
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    children = {child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()}
    return ticks / os.sysconf("SC_CLK_TCK") + sum(processor_s(int(child)) for child in children)


def free_port() -> int:
    """Return a port for a server that may stop and start again meanwhile; nobody else gets it from here.

    A second port, bound until this process ends, stands for it: whoever finds that one taken looks on.
    """
    while True:
        token = socket.socket()
        number = PORTS[secrets.randbelow(len(PORTS))]
        try:
            token.bind(("127.0.0.1", number))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", number + len(PORTS)))
        except OSError:
            token.close()
        else:
            _TAKEN.append(token)
            return number + len(PORTS)
