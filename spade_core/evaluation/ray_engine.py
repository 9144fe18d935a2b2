"""The pictures of a run on the machines of a Ray cluster: the records of a local run, whoever is lost on the way.

A worker takes a GPU, where the model is on one, or as many cores as a picture has threads. The model is put into the
cluster's store once; pictures go to workers as the bytes of their files, so only this machine needs the folder. A
worker holds at most ``AHEAD`` pictures, so nothing piles up. The pictures of a worker that is lost go back into the
queue; each record is yielded once. Another worker takes its place as soon as the cluster has room for one.

Ray is optional (``requirements-cluster.txt``) and imported here only. Every machine needs this package.
"""

from __future__ import annotations

import copy
import logging
import os
import re
import socket
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from spade_core.errors import ConfigError, JobError, PictureError
from spade_core.evaluation.engine import Records, Work
from spade_core.evaluation.records import Record
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import read_file
from spade_core.progress import Progress

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
try:
    import ray
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayError, WorkerCrashedError
except ModuleNotFoundError as error:
    raise ConfigError("The engine ray needs Ray: pip install -r requirements-cluster.txt.") from error

logger = logging.getLogger(__name__)

AHEAD = 2  # pictures of a worker: the one that it measures and the next
PATIENCE = 5.0  # seconds for a cluster to answer
LOST = (RayActorError, NodeDiedError, OutOfMemoryError, WorkerCrashedError)  # a worker, not what it measured
ATTEMPTS = 4  # with a picture at hand before the run ends: one that is too much for a worker would end all of them
TICK = 0.5  # seconds between two looks at the queue, where a cancel gets in


def on_cluster(work: Work, paths: Sequence[Path], progress: Progress) -> Records:
    """Measure the pictures on a cluster, see ``engine.Engine``.

    Raises:
        ConfigError: there is no cluster at the address, or no machine of it has enough cores or a GPU.
        JobError: no worker could be started, or one after the other was lost with the same picture.
    """
    with _cluster(work.address):
        queue = _Queue(work, paths)
        try:
            yield from queue.records(progress)
        finally:
            queue.stop()


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Be connected to a cluster inside the block: to the one of this process, at the address, or started here."""
    if ray.is_initialized():
        yield
        return
    own = {"include_dashboard": False} if address is None else {}
    try:
        if host := re.fullmatch(r"([\w.-]+):(\d+)", address or ""):  # Ray itself would try for minutes
            socket.create_connection((host[1], int(host[2])), PATIENCE).close()
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        raise ConfigError(f"There is no Ray cluster at {address!r}: start one, or leave --address out.") from error
    try:
        yield
    finally:
        ray.shutdown()


class Worker:
    """An actor: a process of its own with a copy of the model."""

    def __init__(self, work: Work, device: str) -> None:
        self._work = replace(work, model=_on(work.model, device))

    def ready(self) -> None:
        """Return once the model is there."""

    def measure(self, name: str, data: bytes) -> dict[str, object]:
        """Return the record of one picture as a dictionary."""
        return self._work.measure(name, data).to_dict()


def _on(model: LoadedModel, device: str) -> LoadedModel:
    """Return the model on a kind of device."""
    if model.device.type == device:
        return model
    return replace(model, module=copy.deepcopy(model.module).to(device), device=torch.device(device))


class _Queue:
    """Pictures that wait, and workers that start, idle or measure."""

    def __init__(self, work: Work, paths: Sequence[Path]) -> None:
        self._device, cores = work.model.device.type, work.configuration.threads
        needs = {"num_gpus": 1} if self._device == "cuda" else {"num_cpus": cores}
        self._actor = ray.remote(**needs, scheduling_strategy="SPREAD")(Worker)
        self._work = ray.put(replace(work, model=_on(work.model, "cpu")))
        self._waiting, self._total = deque(paths), len(paths)
        self._lost: Counter[Path] = Counter()  # workers by the picture that they held
        self._starting: dict[Any, Any] = {}  # call of ``ready`` -> worker
        self._workers: list[Any] = []
        self._busy: dict[Any, tuple[Any, Path]] = {}  # call of ``measure`` -> worker and its picture
        for _ in range(_room(self._device, cores)):
            self._start()

    def records(self, progress: Progress) -> Iterator[Record]:
        """Yield the record of each picture once."""
        done = 0
        while done < self._total:
            for unread in self._hand_out():
                done += 1
                yield unread
            progress(done, self._total, f"{len(self._workers)} workers")
            ready, _ = ray.wait([*self._busy, *self._starting], timeout=TICK)
            for call in ready:
                if call in self._starting:
                    self._welcome(call)
                elif (record := self._received(call)) is not None:
                    done += 1
                    yield record

    def stop(self) -> None:
        """End all workers, with what they are doing."""
        for worker in [*self._workers, *self._starting.values()]:
            ray.kill(worker)

    def _start(self) -> None:
        worker = self._actor.remote(self._work, self._device)
        self._starting[worker.ready.remote()] = worker

    def _welcome(self, call: object) -> None:
        worker = self._starting.pop(call)
        try:
            ray.get(call)
        except LOST as error:
            if not self._workers and not self._starting:
                raise JobError("No worker starts on the cluster: install this package on all its machines.") from error
        else:
            self._workers.append(worker)

    def _hand_out(self) -> Iterator[Record]:
        """Give each worker pictures until it holds ``AHEAD`` of them; those that hold fewer come first.

        Yields:
            Records of what cannot even be read, as ``engine.local`` does.
        """
        for held in range(AHEAD):
            for worker in self._workers:
                if self._waiting and sum(one is worker for one, _ in self._busy.values()) <= held:
                    path = self._waiting.popleft()
                    try:
                        self._busy[worker.measure.remote(path.name, read_file(path, path.name))] = worker, path
                    except PictureError as error:
                        yield Record(path.name, skipped=str(error))

    def _received(self, call: object) -> Record | None:
        """Return a finished call's record; None: its worker was lost, and the picture waits again.

        Raises:
            JobError: ``ATTEMPTS`` workers were lost with this picture.
        """
        worker, path = self._busy.pop(call)
        try:
            return Record.from_dict(ray.get(call))
        except LOST as error:
            self._waiting.appendleft(path)
            self._lost[path] += any(one is worker for one in self._workers)  # the first of its pictures, at hand
            if self._lost[path] == ATTEMPTS:
                raise JobError(
                    f"{ATTEMPTS} workers were lost one after the other with {path.name}: give them more memory, or "
                    "leave that picture out. The same command goes on where it stopped."
                ) from error
            if any(one is worker for one in self._workers):
                logger.warning("A worker of the cluster was lost: its pictures are measured again by others.")
                self._workers = [one for one in self._workers if one is not worker]
                ray.kill(worker)  # it may only have been out of reach
                self._start()
            return None


def _room(device: str, cores: int) -> int:
    """Return how many workers the cluster has room for.

    Raises:
        ConfigError: none.
    """
    if device == "cuda":
        found, needed = int(ray.cluster_resources().get("GPU", 0)), "a GPU"
    else:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        found, needed = sum(int(machine.get("CPU", 0) // cores) for machine in machines), f"{cores} cores"
    if not found:
        raise ConfigError(f"No machine of the cluster has {needed} for a worker: take --engine local or --threads 1.")
    return found
