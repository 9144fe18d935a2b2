"""A connection that can be held up and cut while server and browser live on: a relay of TCP between the two."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

CHUNK = 65_536


class Line:
    """The way to a server on this computer, used as a context manager.

    Attributes:
        url: where a browser finds the server through the line.
    """

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", urlsplit(url).port or 80)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._to_server, self._to_browser = threading.Event(), threading.Event()
        self._to_server.set()
        self._to_browser.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        self.cut()

    def hold(self, *, to_server: bool = False, to_browser: bool = False) -> None:
        """Keep back what is sent from now on, until the line is cut; then it is lost."""
        if to_server:
            self._to_server.clear()
        if to_browser:
            self._to_browser.clear()

    def let_go(self) -> None:
        """Send what was kept back, and keep back nothing more."""
        self._to_server.set()
        self._to_browser.set()

    def cut(self) -> None:
        """Break all connections, without a word; new ones go through."""
        with self._lock:
            broken, self._open = self._open, set()
        for end in broken:
            _close(end)
        self._to_server.set()  # whoever waits here finds its connection closed
        self._to_browser.set()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listening.accept()
            except OSError:
                return  # the line was closed
            try:
                server = socket.create_connection(self._target)
            except OSError:
                browser.close()
                continue
            with self._lock:
                self._open |= {browser, server}
            for source, sink, free in ((browser, server, self._to_server), (server, browser, self._to_browser)):
                threading.Thread(target=self._relay, args=(source, sink, free), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, free: threading.Event) -> None:
        with suppress(OSError):  # cut, or the other end has gone
            while data := source.recv(CHUNK):
                free.wait()
                sink.sendall(data)
        with self._lock:
            self._open -= {source, sink}
        _close(source)
        _close(sink)


def _close(end: socket.socket) -> None:
    with suppress(OSError):  # closed already
        end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
    end.close()
