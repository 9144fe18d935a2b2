"""A cluster of two nodes on this machine, one of which is killed midway: the local run's tables, byte for byte."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import pytest

from spade_core.errors import ConfigError, SpadeError
from spade_core.evaluation import Configuration, run
from spade_core.evaluation.records import RECORDS
from spade_core.progress import Cancelled
from tests.evaluation.conftest import SETTINGS

if "CI" not in os.environ:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-cluster.txt")

QUIET = {"include_dashboard": False, "object_store_memory": 80 * 2**20}
SLOW = Configuration("faithfulness", **{**SETTINGS, "methods": ("lime",), "processing": ("noise",), "arms": ("dense",)})


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
