"""The time limit of a whole study, on both engines."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from spade_core.study.admission.devices import Device
from spade_core.study.analysis.evaluation import evaluate
from spade_core.study.data.studies import publish, unblind
from spade_core.study.data.tables import Base
from spade_core.study.design.procedure import procedure
from spade_core.study.export.export import TABLES, export, trial_table
from spade_core.study.monitoring.people import monitor, payments
from spade_core.study.monitoring.status import status_of
from spade_core.study.running import flow, person
from spade_core.study.running.answers import submit
from spade_core.study.running.bots import simulate
from spade_core.study.running.phases import ends_at, is_over
from tests.study.conftest import real_design
from tests.study.running.test_flow import again, answer_of, events, in_main, standing_of


def limited(**changes):
    codes = {**real_design().codes.model_dump(), "time_over": "OVER1"}
    return real_design(minutes_limit=10, codes=codes, **changes)


@pytest.fixture
def key(store, stimuli):
    return publish(store, limited(), stimuli)


def answer_one(store, who):
    trial = flow.current_trial(store, who)
    return submit(store, who, answer_of(trial, trial.required or trial.reference_side))


def test_when_the_time_is_over_answers_are_kept_and_the_rest_is_missing(store, key):
    who = in_main(store, key, external_id="P1")
    begun = store.clock.now
    assert ends_at(who.design, who.row) == begun + 600
    store.clock.now += 590
    for _ in range(3):
        assert answer_one(store, who).fresh
    trial = flow.current_trial(store, who)
    store.clock.now = begun + 601.5  # on its way when the time was over
    assert submit(store, who, answer_of(trial)).fresh
    late = flow.current_trial(store, who)
    store.clock.now = begun + 603
    receipt = submit(store, who, answer_of(late))
    assert (receipt.stored, receipt.fresh, receipt.refusal) == (True, False, "late")
    assert events(store, who) == ["late"]
    who = again(store, who)
    assert (who.row.status, who.code, standing_of(store, who).progress) == ("time_over", "OVER1", 1)
    assert who.row.finished == begun + 600, "it ended with the time, not when that was noticed"
    assert flow.current_trial(store, who) is None
    table = trial_table(store, key, blind=False)
    main = table[table["trial_type"] != "practice"]
    assert main["timed_out"].tolist() == [False] * 4 + [True] * (len(main) - 4)
    assert set(main[main["timed_out"]]["timed_out_by"]) == {"study"}
    assert main[main["timed_out"]]["choice"].isna().all()
    assert payments(store, key) == [{"external_id": "P1", "status": "time_over", "code": "OVER1"}]


def test_the_clock_runs_over_reloads_and_is_looked_at_once(store, key):
    entry = person.enter(store, key, external_id="P1")
    who = person.person(store, key, entry.token)
    store.clock.now += 3600
    assert ends_at(who.design, who.row) is None, "it runs from the consent on"
    who = flow.consent(store, flow.check_device(store, who, width=900, device=Device()), given=True)
    store.clock.now += 599
    assert flow.run_out(store, who).row.status == "active"
    store.clock.now += 1
    who = person.person(store, key, person.enter(store, key, external_id="P1", signed=True).token)
    assert is_over(who.design, who.row, store.clock())
    ended = flow.run_out(store, who).row.finished
    store.clock.now += 100
    assert flow.run_out(store, who).row.finished == ended


def test_who_never_comes_back_ends_with_the_time_and_frees_the_cell(store, key):
    seed = "5" * 32
    who = in_main(store, key, external_id="P1", seed=seed)
    answer_one(store, who)
    begun, cell = again(store, who).row.consented, who.row.cell
    store.clock.now = begun + 599
    assert in_main(store, key, seed=seed).row.cell != cell, "it is taken"
    assert status_of(store, key)["people"] == {"active": 2}
    store.clock.now = begun + 600  # not idle for long: only the limit is over
    third = in_main(store, key, seed=seed).row.cell
    assert third == cell, "with one of the others taken and the same chances it is drawn only where it is free"
    store.clock.now = begun + 602
    found = status_of(store, key)
    assert found["people"] == {"time_over": 1, "active": 2}
    assert found["people_active_by_cell"][cell] == 1
    row = monitor(store, key).rows[-1]
    assert (row["participant_uid"], row["status"]) == (who.row.uid, "time_over")
    assert row["minutes"] == pytest.approx((600 + begun - who.row.started) / 60)
    assert trial_table(store, key, blind=False)["status"].iloc[0] == "time_over"
    table = trial_table(store, key, blind=False)
    mine = table[(table["participant_uid"] == who.row.uid) & (table["trial_type"] != "practice")]
    assert mine["choice"].notna().tolist() == [True] + [False] * (len(mine) - 1)
    assert set(mine["timed_out_by"][1:]) == {"study"}
    assert payments(store, key) == [{"external_id": "P1", "status": "time_over", "code": "OVER1"}]
    store.clock.now = begun + 5000  # late, and with what reads have said meanwhile
    who = flow.run_out(store, person.person(store, key, person.enter(store, key, external_id="P1", signed=True).token))
    assert (who.code, who.row.finished) == ("OVER1", begun + 600)


def everything(store):
    """Return all rows of a database."""

    def work(session):
        tables = Base.metadata.sorted_tables
        return {table.name: [tuple(row) for row in session.execute(select(table))] for table in tables}

    return store.read(work)


READS = {
    "status": lambda store, key: status_of(store, key),
    "monitor": lambda store, key: (lambda found: (found.rows, found.summary, found.status))(monitor(store, key)),
    "payments": lambda store, key: payments(store, key),
    "exports": lambda store, key: [json.loads(export(store, key, "json", table).data) for table in TABLES],
    "analysis": lambda store, key: evaluate(store, key),
}


@pytest.mark.parametrize("read", READS)
def test_a_read_reports_overdue_participations_as_ended_and_writes_nothing(store, key, read):
    who = in_main(store, key, external_id="P1")
    answer_one(store, who)
    unblind(store, key, by="test", interim="a test")
    store.clock.now += 700
    before = everything(store)
    overdue = READS[read](store, key)
    assert everything(store) == before
    assert again(store, who).row.status == "active"
    assert flow.run_out(store, who).row.status == "time_over"
    assert READS[read](store, key) == overdue, "what is written down later is what was reported"


def test_who_has_answered_everything_may_finish(store, key):
    who = in_main(store, key)
    while flow.current_trial(store, who) is not None:
        answer_one(store, who)
    store.clock.now += 3600
    who = again(store, who)
    assert flow.run_out(store, who).row.status == "active"
    assert flow.finish_study(store, who).row.status == "complete"


def test_trials_that_were_still_to_come_fail_no_check(store, key):
    who = in_main(store, key)
    store.clock.now += 700
    flow.run_out(store, who)
    (row,) = monitor(store, key).rows
    assert (row["status"], row["answers"], row["catch"]) == ("time_over", 0, 0)
    assert not {"attention", "catch", "too_fast", "same_side"} & set(row["failed"])


def test_bots_run_out_of_time_as_people_do_and_texts_say_the_limit(store, stimuli):
    key = publish(store, limited(trials=12, min_view_ms=10_000, practice=0, practice_pass=0), stimuli)
    assert simulate(store, key, 2, "rater", seed=0) == {"complete": 2}
    slow = publish(store, limited(min_view_ms=10_000).model_copy(update={"minutes_limit": 2}), stimuli)
    assert simulate(store, slow, 2, "rater", seed=0) == {"time_over": 2}
    table = trial_table(store, slow)
    assert 0 < (table["timed_out_by"] == "study").sum() < len(table)
    assert "ends 10 minutes after the consent" in procedure(limited())
    assert "after the consent" not in procedure(real_design())
