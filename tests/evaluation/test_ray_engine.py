"""A cluster of two nodes on this machine, one of which is killed midway: the local run's tables, byte for byte."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from dataclasses import replace

import pytest

from spade_core.errors import ConfigError, JobError, SpadeError
from spade_core.evaluation import Configuration, run
from spade_core.evaluation.engine import Work, local
from spade_core.evaluation.records import RECORDS
from spade_core.progress import Cancelled, silent
from tests.evaluation.conftest import SETTINGS

if "CI" not in os.environ:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-cluster.txt")

from spade_core.evaluation import ray_engine
from spade_core.evaluation.ray_engine import LOST, on_cluster

QUIET = {"include_dashboard": False, "object_store_memory": 80 * 2**20}
SLOW = Configuration("faithfulness", **{**SETTINGS, "methods": ("lime",), "processing": ("raw",)})


@pytest.fixture(scope="module")
def cluster():
    # By default a cluster's workers give way to all else, here to the other tests.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **QUIET})
    made.first = made.add_node(num_cpus=1, **QUIET)
    yield made
    made.shutdown()


@pytest.mark.long
def test_a_node_killed_midway_changes_nothing(small, folder, tmp_path, cluster, caplog):
    """The first node's worker has done a picture and holds two when it dies; the second node has come meanwhile."""

    def second_comes(done):
        cluster.add_node(num_cpus=1, **QUIET)
        return True

    def first_dies(done):
        if done:
            cluster.remove_node(cluster.first, allow_graceful=False)
        return done

    steps = [second_comes, first_dies]

    def progress(done, total, note):
        if note == "1 workers" and steps and steps[0](done):
            steps.pop(0)

    run(small, folder, tmp_path / "local", SLOW)
    with caplog.at_level(logging.WARNING):
        run(small, folder, tmp_path / "ray", SLOW, engine="ray", address=cluster.address, progress=progress)
    assert not steps
    assert caplog.text.count("A worker of the cluster was lost") == 1
    assert len((tmp_path / "ray" / RECORDS).read_bytes().splitlines()) == 1 + 5
    for name in ("results.parquet", "table.md"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


@pytest.mark.long
def test_its_own_cluster_skips_what_the_local_engine_skips(small, folder):
    """One picture is gone when its turn comes."""
    work = Work(small, Configuration("faithfulness", **SETTINGS))
    paths = [folder / "0.png", folder / "gone.png", folder / "1.png"]
    kept = {record.picture: record for record in local(work, paths, silent)}
    found = {record.picture: record for record in on_cluster(work, paths, silent)}
    assert found["gone.png"].skipped == kept["gone.png"].skipped == "There is no file 'gone.png': check the path."
    for name in ("0.png", "1.png"):
        assert (found[name].scores == kept[name].scores).all()


class Doomed:
    """Stands in for Ray and its actor: every call is lost, as where a picture is more than a worker's memory."""

    def __init__(self, error):
        self.measure, self.lost, self.calls = self, error, 0

    def remote(self, *_):
        self.calls += 1
        return self.calls

    def get(self, _):
        raise self.lost

    def kill(self, _):
        pass


@pytest.mark.parametrize("error", LOST)
def test_a_picture_that_every_worker_is_lost_with_ends_the_run_in_a_sentence(error, folder, monkeypatch):
    doomed, path = Doomed(error("gone")), folder / "0.png"
    monkeypatch.setattr(ray_engine, "ray", doomed)
    queue = object.__new__(ray_engine._Queue)
    vars(queue).update(_waiting=deque([path]), _lost=Counter(), _busy={}, _workers=[doomed], _start=lambda: None)
    for _ in range(ray_engine.ATTEMPTS - 1):
        queue._workers = [doomed]
        assert list(queue._hand_out()) == []
        assert queue._received(doomed.calls) is None
        assert list(queue._waiting) == [path], "it waits for another"
    queue._workers = [doomed]
    assert list(queue._hand_out()) == []
    with pytest.raises(JobError, match=r"4 workers were lost one after the other with 0\.png: give them more memory"):
        queue._received(doomed.calls)


def test_a_cancel_ends_the_workers_and_the_connection(small, folder, tmp_path, cluster):
    import ray

    def cancel(done, total, note):
        raise Cancelled

    with pytest.raises(Cancelled):
        run(small, folder, tmp_path, SLOW, engine="ray", address=cluster.address, progress=cancel)
    assert not ray.is_initialized()


def test_a_cluster_that_is_not_there_or_too_small_is_said(small, folder, tmp_path, cluster):
    with pytest.raises(ConfigError, match="No machine of the cluster has 64 cores"):
        run(small, folder, tmp_path, replace(SLOW, threads=64), engine="ray", address=cluster.address)
    with pytest.raises(SpadeError, match="There is no Ray cluster at"):
        run(small, folder, tmp_path / "none", SLOW, engine="ray", address="127.0.0.1:1")
