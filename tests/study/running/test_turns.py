"""A turn at the trials: stored, looked at and handed out as one transaction, on both engines."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, event, select

from benchmarks.survey_browser import ready
from spade_core.errors import ConfigError
from spade_core.study.data.store import READS
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Event, Participant, Trial
from spade_core.study.running import answers, flow
from spade_core.study.running.turns import take_turn
from tests.study.conftest import real_design
from tests.study.running.test_flow import answer_of

FEW = {"trials": 6, "practice": 2, "practice_pass": 1, "catch": 0, "repeats": 0, "attention": 0}
TAB = "a" * 16


@pytest.fixture
def study(store, stimuli):
    return publish(store, real_design(**FEW, pause_every=4), stimuli)


@pytest.fixture
def turn(store, study):
    """Return a function that takes a turn of somebody at the first practice trial, in the newest tab."""
    who, query = ready(store, study, "me")
    flow.claim(store, who, TAB)
    token = query.rpartition("=")[2]
    return lambda tab=TAB, **told: take_turn(store, study, token, tab, **told)


def test_practice_and_trials_go_on_turn_by_turn_and_breaks_are_the_pages(store, turn):
    trial, shown = turn().trial, []
    while trial is not None:
        shown.append(trial.type)
        found = turn(answer=answer_of(trial, trial.reference_side))
        assert found.receipt.stored
        if trial.type == "practice":
            assert found.trial.id == trial.id, "its feedback"
            found = turn(read=trial.id)
        trial = found.trial
    assert shown == ["practice", "practice"]
    assert found.at.right == 2, "what comes after practice is the page's"
    answers.give(store, found.at.trial)  # by the page, once that is read
    trial = turn().trial
    while trial is not None:
        shown.append(trial.type)
        found = turn(answer=answer_of(trial))
        trial = found.trial
    assert len(shown) == 2 + 4, "a break of the design"
    assert found.at.begins_block


def test_a_turn_is_one_transaction(turn):
    first = turn().trial
    begun_with = []

    def note(connection):
        begun_with.append("read" if connection.get_execution_options().get(READS) else "write")

    event.listen(Engine, "begin", note)
    try:
        turn(answer=answer_of(first))
        turn(read=first.id)
    finally:
        event.remove(Engine, "begin", note)
    assert begun_with == ["write", "write"]


def test_a_turn_asks_the_database_for_no_more_than_it_needs(turn):
    first, said = turn().trial, []

    def note(_connection, _cursor, statement, *_rest):
        said.append(" ".join(statement.split()[:2]) if statement.startswith("UPDATE") else statement.split()[0])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        turn(answer=answer_of(first))
        after = said.copy()
        said.clear()
        turn(read=first.id)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [one for one in after if one != "BEGIN"] == ["SELECT", "SELECT", "UPDATE trials", "UPDATE participants"]
    assert [one for one in said if one != "BEGIN"] == ["SELECT", "SELECT", "UPDATE trials", "UPDATE trials"]


def test_the_same_turn_twice_changes_nothing_and_another_answer_is_refused(store, turn):
    first = turn().trial
    for choice, refusal in (("region_1", None), ("region_1", "repeated"), ("region_2", "conflicting")):
        found = turn(answer=answer_of(first, choice))
        assert (found.receipt.stored, found.receipt.refusal) == (True, refusal)
        assert found.trial.id == first.id, "its feedback is still to be read"
    given = turn(read=first.id).trial
    again = turn(read=first.id).trial
    assert (given.id, given.details) == (again.id, again.details)
    assert store.read(lambda session: session.get(Trial, first.id)).choice == "region_1"


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ({"trial_id": "0" * 32}, "foreign"),
        ({"trial_id": "\0"}, "foreign"),
        ({"choice": "region_9"}, "impossible"),
        ({"rt_ms": 1.0}, "impossible"),
        ({"rt_ms": float("nan")}, "impossible"),
        ({}, "skipping"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_the_trial_asked_once_more(store, turn, told, refusal):
    first = turn()
    skipped = first.at.upcoming if refusal == "skipping" else first.trial
    found = turn(answer={**answer_of(skipped), **told})
    assert (found.receipt.stored, found.receipt.refusal) == (False, refusal)
    assert found.trial.id == first.trial.id
    assert turn(answer=answer_of(first.trial)).receipt.fresh


def test_refusals_are_noted_so_often_and_no_more(store, turn, monkeypatch):
    monkeypatch.setattr(answers, "MOST_REFUSALS", 2)
    for _ in range(4):
        turn(answer={"trial_id": "0" * 32})
    noted = select(Event).where(Event.kind == "refused answer")
    assert len(store.read(lambda session: list(session.scalars(noted)))) == 2


def test_an_answer_of_an_older_tab_counts_and_is_shown_nothing(turn):
    first = turn().trial
    older = turn(tab="b" * 16, answer=answer_of(first))
    assert older.receipt.fresh
    assert older.trial is None


def test_a_token_of_the_study_alone_finds_somebody(store, study, turn, stimuli):
    token = ready(store, study, "else")[1].rpartition("=")[2]
    assert take_turn(store, study, token, TAB) is not None
    assert take_turn(store, publish(store, real_design(**FEW), stimuli), token, TAB) is None
    who = store.read(lambda session: session.scalar(select(Participant)))
    for wrong in (who.uid, "0" * 32, ""):
        assert take_turn(store, study, wrong, TAB) is None
    with pytest.raises(ConfigError):
        take_turn(store, "another", "0" * 32, TAB)


def test_whoever_has_stopped_is_the_pages(store, turn):
    flow.stop(store, turn().at.who)
    assert turn().trial is None
    assert turn().at.who.row.status == "stopped"


def test_answers_that_come_at_once_are_stored_once(store, turn, patient):
    first = turn().trial
    found, gate = [], threading.Barrier(4)

    def go(choice):
        gate.wait()
        found.append(turn(answer=answer_of(first, choice)).receipt)

    threads = [threading.Thread(target=go, args=(choice,)) for choice in ("region_1", "region_2") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(receipt.fresh for receipt in found) == 1
    assert all(receipt.stored for receipt in found)
