"""How long does a participant on a slow line wait until the first page lets them go on?

    python -m benchmarks.slow_line --runs 5
    python -m benchmarks.slow_line --runs 5 --http2

Chromium opens a study's link through an emulated line (50 kB/s each way, answers 400 ms late) with an empty cache, to
the moment at which the first page's button can be pressed, which waits for what the browser says of its window.
``--http2``: from behind nginx with TLS, as in ``docs/operations.md``, which sends all through one connection; otherwise
through the six of HTTP/1.1, over which many small files wait for each other.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.serving import FLAGS, free_port, nginx, serving, start
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.design.design import demo_design
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

NGINX = """
  map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    location / {{
      proxy_pass {backend};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
"""  # of its http block
LONG = 300_000
FIRST = "[data-testid=stMain] [data-testid=stBaseButton-primary]:enabled"  # once the page knows the window


def opened(browser: Browser, address: str, *, speed: float, delay_ms: float) -> tuple[float, int]:
    """Open an address over a line of so many bytes a second; return seconds until it can be used, and bytes."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(LONG)
    line = context.new_cdp_session(page)
    came: list[int] = []
    line.on("Network.loadingFinished", lambda event: came.append(int(event["encodedDataLength"])))
    line.send("Network.enable")
    limits = {"latency": delay_ms, "downloadThroughput": speed, "uploadThroughput": speed}
    line.send("Network.emulateNetworkConditions", {"offline": False, **limits})
    begun = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.locator(FIRST).first.wait_for()
    took = time.perf_counter() - begun
    context.close()
    return took, sum(came)


@contextmanager
def behind_nginx(backend: str, folder: Path) -> Iterator[str]:
    """Start nginx before a server, with a certificate of its own; yield its address."""
    key, certificate, port = folder / "key.pem", folder / "certificate.pem", free_port()
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    start([*made, "-keyout", str(key), "-out", str(certificate)]).wait()
    with nginx(NGINX.format(folder=folder, port=port, backend=backend), folder):
        yield f"https://localhost:{port}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_line", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--speed", type=float, default=50.0, metavar="KB", help="kB/s (default: %(default)s)")
    parser.add_argument(
        "--delay", type=float, default=400.0, metavar="MS", help="of each answer (default: %(default)s)"
    )
    parser.add_argument("--http2", action="store_true", help="from behind nginx with TLS")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        sync_playwright() as playwright,
        ExitStack() as stack,
    ):
        store = Store(f"sqlite:///{Path(name) / 'study.sqlite3'}")
        key = publish(store, demo_design(), load_set(DEMO_SET))
        store.close()
        url = stack.enter_context(serving("app.py", {"SPADE_DATA_DIR": name, "SPADE_MODE": "study"}))
        if options.http2:
            url = stack.enter_context(behind_nginx(url, Path(name)))
        flags = [*FLAGS, "--ignore-certificate-errors"]
        browser = playwright.chromium.launch(executable_path=options.chromium, args=flags)
        link = f"{url}/survey?study={key}&PROLIFIC_PID=P"
        runs = [
            opened(browser, f"{link}{run}", speed=options.speed * 1000, delay_ms=options.delay)
            for run in range(options.runs)
        ]
        browser.close()
    times = [took for took, _ in runs]
    sys.stdout.write(
        f"first page after {statistics.median(times):.1f} s in the median [{min(times):.1f}, {max(times):.1f}], "
        f"{statistics.median(size for _, size in runs) / 1000:.0f} kB, {len(runs)} runs\n"
    )


if __name__ == "__main__":
    main()
