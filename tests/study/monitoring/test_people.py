"""What the experimenter sees of participants, exclusion, payment, and the dry run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from spade_core.errors import ConfigError
from spade_core.study.analysis.dry_run import dry_run, fresh_copy
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish, set_status, unblind
from spade_core.study.data.tables import Audit, Participant
from spade_core.study.export.export import bundle, trial_table
from spade_core.study.monitoring.free_texts import free_texts
from spade_core.study.monitoring.people import exclude, monitor, payments
from spade_core.study.monitoring.status import status_of
from spade_core.study.running import bots
from spade_core.study.running.bots import simulate
from tests.study.conftest import FEW, real_design


def as_people(store):
    """Let those who have taken part so far count as people."""
    store.run(lambda session: session.execute(update(Participant).values(is_bot=False, policy=None)))


@pytest.fixture
def key(store, stimuli):
    """Return the key of a study that takes few answers."""
    return publish(store, real_design(**FEW), stimuli)


@pytest.fixture
def fickle(monkeypatch):
    """Let every second drop-out leave, so that a few are enough for some to stay and some to go."""
    monkeypatch.setitem(bots.POLICIES, "drop-out", replace(bots.POLICIES["drop-out"], leaves=0.06))


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


def test_cells_are_counted_by_who_completed_and_who_is_active(store, key, fickle):
    simulate(store, key, 6, "drop-out", 0)
    as_people(store)
    query = select(Participant.status, Participant.cell)
    rows = store.read(lambda session: session.execute(query).all())
    found = monitor(store, key).status
    for status, column in (("complete", "people_by_cell"), ("active", "people_active_by_cell")):
        assert found[column] == [rows.count((status, number)) for number in range(len(found[column]))]
        assert sum(found[column]) == found["people"][status] > 0
    assert sum(found["bots_active_by_cell"]) == 0
    store.clock.now += 3601
    later = status_of(store, key)
    assert sum(later["people_active_by_cell"]) == 0
    assert later["people"]["left"] == found["people"]["active"]


def test_what_belongs_together_is_read_in_one_transaction(store, running, monkeypatch):
    begun = []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda self, work: begun.append("read") or read(self, work))
    monkeypatch.setattr(Store, "run", lambda self, work: begun.append("run"))
    for look in (
        lambda: monitor(store, running),
        lambda: status_of(store, running),
        lambda: payments(store, running),
        lambda: bundle(store, running, "csv", shareable=True),
        lambda: trial_table(store, running),
        lambda: free_texts(store, running),
    ):
        begun.clear()
        look()
        assert begun == ["read"]


def test_the_monitor_shows_bots_where_there_is_nobody_else(store, key):
    assert not monitor(store, key).bots
    simulate(store, key, 1, "rater", 0)
    assert monitor(store, key).bots
    assert monitor(store, key, bots=False).rows == []
    as_people(store)
    assert not monitor(store, key).bots


def test_who_is_idle_has_left(store, key, fickle):
    simulate(store, key, 6, "drop-out", 0)
    as_people(store)
    active = monitor(store, key).summary["active"]
    assert active > 0
    store.clock.now += 3601
    found = monitor(store, key)
    for row in found.rows:
        assert (row["idle_minutes"] is None) == (row["status"] == "complete")
        assert row["idle_minutes"] is None or row["idle_minutes"] > 60
    assert found.summary["left"] == active
    assert found.summary["active"] == 0
    assert found.summary["drop_out"] == active / 6
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
    unblind(store, running, by="test", interim="a test")
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
    told: list[tuple[float, str]] = []
    found = dry_run(
        fresh_copy(store, running), 3, "ideal", 0, progress=lambda done, total, note: told.append((done / total, note))
    )
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[0] == (0.0, "SIMULATED: bot 1 of 3")
    assert found.ends == {"complete": 3}
    assert sum(found.cells) == 3
    assert found.result.result.simulated
    assert "SIMULATED" in found.text
    assert status_of(store, running) == before
