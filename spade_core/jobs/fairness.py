"""Whose job is next: sessions take turns, short jobs come first, and nobody holds more than a share of the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from spade_core.errors import JobError
from spade_core.jobs.job import Job

PACE = 0.5  # weight of the newest duration in what is expected of a kind


class Sessions(Protocol):
    """What a server knows of those who ask for jobs."""

    def current(self) -> str:
        """Return the name of the session that asks; empty: nobody's."""

    def alive(self, session: str) -> bool:
        """Return whether somebody still looks at it."""


class Nobody:
    """The sessions of a program that has none."""

    def current(self) -> str:
        """Return the empty name."""
        return ""

    def alive(self, session: str) -> bool:
        """Return True of the only one."""
        return not session


@dataclass(frozen=True)
class Limits:
    """What jobs may take.

    Attributes:
        waiting: jobs in the queue; per_session: those of one session.
        seconds: that a job may run; resident: bytes that its process may hold.
        kept: bytes above which a process gives back after a job what that has freed.
        idle: seconds without a job after which all is given back, and the reserve ends.
    """

    waiting: int
    per_session: int
    seconds: float
    resident: int
    kept: int
    idle: float


class FairQueue:
    """Jobs that wait, in rounds: in each every session has one job, and those that take least time come first.

    So nobody waits for more than one job of each other session, however many that one has asked for.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._jobs: list[Job] = []
        self._round = 0
        self._next: dict[str, int] = {}  # the round in which a session is served again
        self._expected: dict[str, float] = {}  # seconds a job of a kind takes, as the last ones did

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: Job) -> bool:
        return job in self._jobs

    def add(self, job: Job, *, spare: int) -> None:
        """Let a job wait.

        Args:
            spare: jobs that begin at once, and are not counted.

        Raises:
            JobError: the queue, or the session's share of it, is full.
        """
        if len(self._jobs) - spare >= self._limits.waiting:
            raise JobError(f"The queue is full, {len(self._jobs)} jobs are waiting: try again in a few minutes.")
        own = sum(other.owner == job.owner for other in self._jobs)
        if own - spare >= self._limits.per_session:
            raise JobError(f"You have {own} computations waiting already: wait for one of them, or cancel it.")
        self._jobs.append(job)

    def remove(self, job: Job) -> None:
        """Take a job out."""
        self._jobs.remove(job)

    def order(self) -> list[Job]:
        """Return the jobs as they will be taken."""
        return [job for *_, job in sorted(self._ranked(), key=lambda row: row[:3])]

    def take(self) -> Job:
        """Return the next job, which waits no longer."""
        self._round, _, _, job = min(self._ranked(), key=lambda row: row[:3])
        self._next = {owner: at for owner, at in self._next.items() if at > self._round}
        self._next[job.owner] = self._round + 1
        self._jobs.remove(job)
        return job

    def took(self, job: Job, seconds: float) -> None:
        """Note how long a job ran."""
        before = self._expected.get(job.kind, seconds)
        self._expected[job.kind] = (1 - PACE) * before + PACE * seconds

    def _ranked(self) -> list[tuple[int, float, int, Job]]:
        """Return each job with its round, the seconds it will take, and its serial number."""
        rows: list[tuple[int, float, int, Job]] = []
        turns: dict[str, int] = {}
        for job in sorted(self._jobs, key=self._length):
            turn = turns.get(job.owner, max(self._round, self._next.get(job.owner, 0)))
            turns[job.owner] = turn + 1
            rows.append((turn, *self._length(job), job))
        return rows

    def _length(self, job: Job) -> tuple[float, int]:
        return self._expected.get(job.kind, 0.0), job.serial
