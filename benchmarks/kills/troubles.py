"""What happens to a server around an answer: each kind strikes, hears of vain attempts, and is over at last."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

from benchmarks.kills.databases import Postgres
from benchmarks.kills.participant import Participant
from benchmarks.kills.server import Server

MINUTE = 60.0
GIGABYTE = 1 << 30
FRAME = 4096 + 24  # bytes of a page in SQLite's log


class Struck(Protocol):
    """What trouble may befall; ``small``: its folder lies on a small file system of its own."""

    folder: Path
    small: bool
    server: Server
    postgres: Postgres | None
    participant: Participant | None


class Trouble(Protocol):
    """One interruption of an answer."""

    def strike(self) -> None:
        """Let it happen, while the server stands at a step or does whatever it does."""

    def missed(self) -> None:
        """An attempt to send the answer was in vain."""

    def heal(self) -> None:
        """End it, unless it has ended."""


class Outage:
    """Lasts for none to two attempts after the one that it interrupts."""

    def __init__(self, at: Struck, rng: random.Random) -> None:
        self.at, self.rng, self.left = at, rng, rng.randint(1, 3)

    def missed(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.heal()

    def heal(self) -> None:
        raise NotImplementedError


class Kill(Outage):
    """The server's process is killed, and started again."""

    def strike(self) -> None:
        self.at.server.kill()

    def heal(self) -> None:
        if not self.at.server.lives:
            self.at.server.start()
            if self.at.participant is not None:
                self.at.participant.cut()


class Cut:
    """The connection breaks, and the server goes on."""

    def __init__(self, at: Struck, _rng: random.Random) -> None:
        self.at = at

    def strike(self) -> None:
        if self.at.participant is not None:
            self.at.participant.cut()

    def missed(self) -> None:
        pass

    def heal(self) -> None:
        pass


class ClockStep(Cut):
    """The clock of server and database steps by a minute, forward or back, and stays there."""

    def __init__(self, at: Struck, rng: random.Random) -> None:
        self.at, self.seconds = at, rng.choice((-MINUTE, MINUTE))

    def strike(self) -> None:
        self.at.server.step_clock(self.seconds)


class DiskFull(Outage):
    """No file of the server takes another byte, or the log a page or two and no more; then there is room again."""

    def strike(self) -> None:
        end = 32 + FRAME * self._frames()  # of the log, which may be written over what it held before
        self.at.server.limit_files(self.rng.choice((0, end + self.rng.randrange(2 * FRAME))))

    def heal(self) -> None:
        self.at.server.limit_files(resource.RLIM_INFINITY)

    def _frames(self) -> int:
        """Return how many pages the log holds, as its index tells (mxFrame in SQLite's file format)."""
        index = self.at.folder / "study.sqlite3-shm"
        return int.from_bytes(index.read_bytes()[16:20], sys.byteorder) if index.exists() else 0


class SmallDiskFull(Outage):
    """The file system that the database lies on is filled to the brim, and emptied again."""

    def __init__(self, at: Struck, rng: random.Random) -> None:
        super().__init__(at, rng)
        self.ballast = at.folder / "ballast"
        with closing(sqlite3.connect(at.folder / "study.sqlite3")) as connection:
            connection.execute(
                "PRAGMA wal_checkpoint(TRUNCATE)"
            )  # else the log would be written over, and need no room

    def strike(self) -> None:
        with self.ballast.open("wb", buffering=0) as file:
            for size in (256 * FRAME, 1):
                with suppress(OSError):  # it is full
                    while True:
                        file.write(bytes(size))

    def heal(self) -> None:
        self.ballast.unlink(missing_ok=True)


def is_small(folder: Path) -> bool:
    """Return whether a folder's file system is small enough to be filled to the brim."""
    return folder.is_dir() and shutil.disk_usage(folder).total <= GIGABYTE


def disk_full(at: Struck, rng: random.Random) -> Trouble:
    """Return how a disk gets full: a small one is filled, of a large one the server gets no more."""
    return SmallDiskFull(at, rng) if at.small else DiskFull(at, rng)


class DatabaseKilled(Outage):
    """PostgreSQL is stopped as by a crash, and started again."""

    def strike(self) -> None:
        if self.at.postgres is not None:
            self.at.postgres.kill()

    def heal(self) -> None:
        if self.at.postgres is not None:
            self.at.postgres.start()


KINDS: dict[str, Callable[[Struck, random.Random], Trouble]] = {
    "kill": Kill,
    "cut": Cut,
    "clock": ClockStep,
    "disk": disk_full,
    "database": DatabaseKilled,
}
