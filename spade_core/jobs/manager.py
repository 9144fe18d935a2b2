"""Heavy work outside the page process: progress, cancel, a bounded queue, and results kept by content.

A server has one :class:`JobManager`; pages and commands ask it for jobs and hold on to the tickets that it gives.
Requests of the same content share one computation and one kept result. Where jobs run is the lane's matter.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import threading
import time
from collections.abc import Mapping

from spade_core.config import Settings
from spade_core.errors import ConfigError, SpadeError
from spade_core.files import keep_file
from spade_core.gallery.cases import answered
from spade_core.jobs.fairness import Limits, Nobody, Sessions
from spade_core.jobs.job import Files, Job, Ticket
from spade_core.jobs.lanes import InlineLane, WorkerLane
from spade_core.jobs.store import ResultStore
from spade_core.jobs.worker import DEFAULT_TASKS
from spade_core.pictures.picture import Source
from spade_core.roles import require
from spade_core.versions import library_versions, task_version

logger = logging.getLogger(__name__)

PICTURE_BYTES = 2**29
AWAY = 30.0  # seconds that a session may be gone, a page being loaded anew or a line being down, before its jobs end


def job_key(kind: str, payload: Mapping[str, object]) -> str:
    """Return the content key of a request: sha256 of kind, payload, its code and libraries.

    Where the picture lies is not part of it. What else may change a result has to be in the payload.
    """
    content, picture, pictures = dict(payload), payload.get("picture"), payload.get("pictures")
    if isinstance(picture, Mapping):
        content["picture"] = _without_place(picture)
    if isinstance(pictures, list | tuple):
        content["pictures"] = [_without_place(one) for one in pictures]
    text = json.dumps([kind, content, task_version(kind), library_versions()], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _without_place(picture: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in picture.items() if name != "path"}


class JobManager:
    """Queue, workers and results of one server on one device. Safe to use from several threads.

    Args:
        settings: device, folder, limits, and whether jobs run in worker processes or in the calling thread.
        tasks: name of the module that has the tasks (see ``worker.py``).
        sessions: tells who asks, and who is still there; jobs of those who left end after ``AWAY`` seconds.
    """

    def __init__(self, settings: Settings, *, tasks: str = DEFAULT_TASKS, sessions: Sessions | None = None) -> None:
        self.settings = settings
        self._sessions = sessions or Nobody()
        self._away: dict[str, float] = {}  # since when a session is gone
        self.store = ResultStore(settings.data_dir / "results", settings.results_bytes)
        self._lock = threading.Lock()  # guards the jobs that wait or run, and who is interested
        self._jobs: dict[str, Job] = {}
        self._serials = itertools.count(1)
        given, inline = (tasks, settings.device, self._finish), settings.jobs_mode == "inline"
        most = Limits(
            waiting=settings.queue_length,
            per_session=settings.session_jobs,
            seconds=settings.job_seconds,
            resident=settings.job_bytes,
            kept=settings.kept_bytes,
            idle=settings.idle_seconds,
        )
        self.lane = InlineLane(*given) if inline else WorkerLane(*given, limits=most, watch=self._watch)

    def shelve(self, name: str, sha256: str, data: bytes | None) -> Source:
        """Return how a payload names a picture; uploaded ``data`` is kept in a file by its content.

        Args:
            name, sha256: of the picture; ``bundled:NAME`` where there are no data.

        Raises:
            ConfigError: the file cannot be written, or no files are taken on this server.
        """
        path = name
        if data is not None:
            require(self.settings, "bring")
            folder = self.settings.data_dir / "pictures"
            try:
                path = str(keep_file(folder, sha256, data, PICTURE_BYTES))
            except OSError as error:
                sentence = f"{folder} cannot be written ({error.strerror}): make room or set SPADE_DATA_DIR."
                raise ConfigError(sentence) from error
        return {"path": path, "name": name, "sha256": sha256}

    def submit(self, kind: str, payload: Mapping[str, object]) -> Ticket:
        """Ask for a job; one of the same content that is kept, running or queued is joined.

        Args:
            payload: JSON-able; the task gets it as JSON gives it back.

        Raises:
            JobError: too many jobs wait already, or the server is stopping.
            ConfigError: no jobs are run on this server.
        """
        require(self.settings, "compute")
        plain = json.loads(json.dumps(payload))
        key = job_key(kind, plain)
        with self._lock:
            job = self._known(key)
            fresh = job is None
            if job is None:
                job = Job(next(self._serials), key, kind, plain, self._sessions.current())
                self.lane.admit(job)
                self._jobs[key] = job
            ticket = self._ticket(job)
        if fresh:
            self.lane.start(job)
        return ticket

    def find(self, key: str) -> Ticket | None:
        """Return a ticket of a job that waits, runs or is kept, or None; see :meth:`submit` for what it raises."""
        require(self.settings, "compute")
        with self._lock:
            job = self._known(key)
            return None if job is None else self._ticket(job)

    def known(self, kind: str, payload: Mapping[str, object]) -> Ticket | None:
        """Return a ticket of a request that waits, runs or is kept already, here or in the gallery, or None.

        Nothing is started.
        """
        return self.find(job_key(kind, payload)) or self._shipped(kind, payload)

    def close(self) -> None:
        """Stop the workers; jobs that run or wait fail with a sentence."""
        self.lane.close()

    def _shipped(self, kind: str, payload: Mapping[str, object]) -> Ticket | None:
        files = answered(kind, payload)
        return (
            None if files is None else self._ticket(self._ended(job_key(kind, payload), files, "found in the gallery"))
        )

    def _ended(self, key: str, files: Mapping[str, bytes], note: str) -> Job:
        """Return a job that is done already."""
        kept = Job(next(self._serials), key, "", {})
        kept.end("done", note, files=dict(files))
        return kept

    def _ticket(self, job: Job) -> Ticket:
        return Ticket(job, self.lane.position, self._give_up, self._sessions.current())

    def _watch(self) -> None:
        """Cancel the jobs that no session waits for any more."""
        now = time.monotonic()
        with self._lock:
            held = {job: [ticket for ticket in job.tickets if not ticket.given_up] for job in self._jobs.values()}
            owners = {ticket.owner for tickets in held.values() for ticket in tickets}
            gone = {owner for owner in owners if owner and not self._sessions.alive(owner)}
            self._away = {owner: self._away.get(owner, now) for owner in gone}
            left = {owner for owner, since in self._away.items() if now - since >= AWAY}
            ended = [job for job, tickets in held.items() if left.issuperset(ticket.owner for ticket in tickets)]
            ended = [job for job in ended if not job.cancelling and not job.ended.is_set()]
            for job in ended:
                job.cancelling = True
        for job in ended:
            self.lane.cancel(job)

    def _give_up(self, ticket: Ticket, job: Job) -> None:
        """One ticket less; the job is cancelled if that was the last."""
        with self._lock:
            if job.ended.is_set() or ticket.given_up:
                return
            ticket.given_up = True
            if not all(other.given_up for other in job.tickets):
                return
            job.cancelling = True
        self.lane.cancel(job)

    def _known(self, key: str) -> Job | None:
        job = self._jobs.get(key)
        if job is not None and not job.cancelling:
            return job
        files = self.store.get(key)
        return None if files is None else self._ended(key, files, "found among the kept results")

    def _finish(self, job: Job, state: str, *, files: Files = None, error: SpadeError | None = None) -> None:
        if files is not None:
            try:
                self.store.put(job.key, files)
            except OSError as problem:
                logger.warning("a result is given but cannot be kept in %s: %s", self.store.root, problem)
        with self._lock:  # after keeping it: at every moment a request finds the job or its result
            if self._jobs.get(job.key) is job:
                del self._jobs[job.key]
        job.end(state, state if error is None else str(error), files=files, error=error)
