"""What the experimenter sees of participants, exclusion, payment, and the dry run."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, update

from spade_core.errors import ConfigError
from spade_core.study.bots import simulate
from spade_core.study.dry_run import dry_run
from spade_core.study.evaluation import status_of, unblind
from spade_core.study.export import trial_table
from spade_core.study.people import exclude, monitor, payments
from spade_core.study.studies import set_status
from spade_core.study.tables import Audit, Participant


def as_people(store):
    """Let those who have taken part so far count as people."""
    store.run(lambda session: session.execute(update(Participant).values(is_bot=False, policy=None)))


@pytest.fixture
def running(store, key):
    simulate(store, key, 2, "rater", 0)
    simulate(store, key, 1, "fast-clicker", 0)
    simulate(store, key, 1, "always-left", 0)
    as_people(store)
    return key


def test_the_monitor_counts_and_tells_nothing_of_conditions(store, running):
    found = monitor(store, running)
    assert found.summary["started"] == 4
    assert found.summary["complete"] == status_of(store, running)["people"]["complete"]
    assert found.summary["same_side"] == 1
    assert found.summary["too_fast"] == 1
    assert found.summary["drop_out"] == 0
    noticed = " ".join(row["checks"] for row in found.rows)
    assert "same side: 100%" in noticed
    assert "too fast: median" in noticed
    text = json.dumps(found.rows)
    for word in ("dense", "spade", "condition", "cell", "stimulus", "class_neuron"):
        assert word not in text
    assert monitor(store, running, bots=True).rows == []


def test_who_is_idle_has_left(store, key):
    for seed in range(4):
        simulate(store, key, 4, "drop-out", seed)
    as_people(store)
    active = monitor(store, key).summary["active"]
    assert active > 0
    store.clock.now += 3601
    found = monitor(store, key)
    assert found.summary["left"] == active
    assert found.summary["active"] == 0
    assert found.summary["drop_out"] == active / 16
    assert sum(found.left_at.values()) == active


def test_exclusion_is_noted_and_leaves_payment_alone(store, running):
    uid = monitor(store, running).rows[0]["participant_uid"]
    paid = payments(store, running)
    exclude(store, running, uid, "  said so \n herself ")
    rows = {row["participant_uid"]: row for row in monitor(store, running).rows}
    assert rows[uid]["excluded"] == "said so herself"
    assert not rows[uid]["included"]
    table = trial_table(store, running)
    assert not table[table["participant_uid"] == uid]["included"].any()
    assert payments(store, running) == paid
    assert len(paid) == 4
    assert [row["external_id"] for row in paid] == sorted(row["external_id"] for row in paid)
    assert all(set(row) == {"external_id", "status", "code"} for row in paid)
    unblind(store, running, by="test")
    exclude(store, running, uid, "")
    assert {row["participant_uid"]: row["excluded"] for row in monitor(store, running).rows}[uid] == ""
    noted = store.run(lambda session: list(session.scalars(select(Audit).order_by(Audit.id))))
    assert [(row.action, row.details) for row in noted if row.action in ("exclude", "include")] == [
        ("exclude", {"blind": True}),
        ("include", {"blind": False}),
    ]


def test_exclusion_of_nobody_and_long_reasons_are_refused(store, running):
    with pytest.raises(ConfigError, match="no participant"):
        exclude(store, running, "nobody", "x")
    uid = monitor(store, running).rows[0]["participant_uid"]
    with pytest.raises(ConfigError, match="within 200"):
        exclude(store, running, uid, "x" * 201)


def test_a_dry_run_leaves_the_study_as_it_is(store, running):
    set_status(store, running, "paused")
    before = status_of(store, running)
    found = dry_run(store, running, 3, "ideal", 0)
    assert found["ends"] == {"complete": 3}
    assert sum(found["cells"]) == 3
    assert found["result"]["simulated"]
    assert "SIMULATED" in found["text"]
    assert status_of(store, running) == before
