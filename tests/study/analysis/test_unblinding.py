"""Whoever looks at conditions early says so, and the result is no longer confirmatory."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from spade_core.errors import ConfigError
from spade_core.study.analysis.evaluation import evaluate, label_of, report_text
from spade_core.study.analysis.findings import Look
from spade_core.study.analysis.report import methods_text
from spade_core.study.data.studies import opened, publish, save_draft, set_status, unblind
from spade_core.study.data.tables import Audit, Participant
from spade_core.study.design.design import Analysis
from spade_core.study.export.export import export, trial_table
from spade_core.study.running.bots import simulate
from tests.study.conftest import FEW, real_design

pytestmark = pytest.mark.one_engine
WHEN = "Conditions were first seen on 1970-01-12 at 13:48 UTC"


@pytest.fixture
def key(store, stimuli):
    """Return the key of a study of two people that takes few answers."""
    analysis = real_design().analysis.model_copy(update={"target_participants": 2})
    return publish(store, real_design(**FEW, analysis=analysis.model_dump()), stimuli)


def people(store, key, count):
    """Let people complete a study: bots that pass for people."""
    store.clock.now += 60
    simulate(store, key, count, "rater", seed=int(store.clock.now))
    store.run(lambda session: session.execute(update(Participant).values(is_bot=False, policy=None)))
    store.clock.now += 60


def test_an_open_study_is_unblinded_for_a_reason_only(store, key):
    people(store, key, 1)
    for empty in ("", "  \n"):
        with pytest.raises(ConfigError, match="still takes participants"):
            unblind(store, key, by="Ada", interim=empty)
    assert opened(store, key).row.unblinded is None
    assert "unblind" not in store.read(lambda session: list(session.scalars(select(Audit.action))))
    unblind(store, key, by="Ada", interim=" the funder\nasks ")
    unblind(store, key, by="Eve", interim="another one")
    told = store.read(lambda session: list(session.scalars(select(Audit.details).where(Audit.action == "unblind"))))
    assert told == [{"by": "Ada", "interim": "the funder asks"}]


def test_a_draft_has_nothing_to_unblind(store, stimuli):
    draft = save_draft(store, real_design(**FEW), stimuli)
    with pytest.raises(ConfigError, match="nobody has taken part"):
        unblind(store, draft, by="Ada", interim="why not")


def test_a_look_for_a_reason_makes_all_exploratory_for_good_and_says_so_everywhere(store, key):
    people(store, key, 1)
    unblind(store, key, by="Ada", interim="the funder asks")
    people(store, key, 2)
    set_status(store, key, "closed")
    found = evaluate(store, key)
    result = found.result
    assert (result.label, result.primary.label, result.completed) == ("exploratory", "exploratory", 3)
    assert result.verdict.startswith("Exploratory, since conditions were seen while data were collected: ")
    said = f"{WHEN} by Ada, before the planned number of participants was reached: 1 of 2 had completed."
    for text in (report_text(store, key, found), methods_text(opened(store, key).design, result)):
        assert said in text
        assert "The reason given: “the funder asks”. People who began afterwards: 2." in text
        assert "All results are therefore exploratory." in text
    table = trial_table(store, key)
    assert set(table["conditions_seen"]) == {"1970-01-12T13:48:40Z"}
    assert set(table["completed_when_seen"]) == {1}
    assert set(table["interim_reason"]) == {"the funder asks"}
    shared = export(store, key, "csv", "participants", shareable=True).data.decode()
    assert "the funder asks" in shared
    assert "Ada" not in shared


def test_a_look_after_collection_changes_nothing(store, key):
    people(store, key, 2)
    set_status(store, key, "closed")
    unblind(store, key, by="Ada")
    result = evaluate(store, key).result
    assert (result.label, result.look.completed, result.look.began_later) == ("confirmatory", 2, 0)
    assert "after the planned number" in result.texts[-1]
    assert "exploratory" not in result.texts[-1]


def test_who_goes_on_after_a_look_at_a_paused_study_has_an_exploratory_one(store, key):
    people(store, key, 1)
    set_status(store, key, "paused")
    unblind(store, key, by="Ada")
    assert evaluate(store, key).result.label == "interim"
    set_status(store, key, "open")
    people(store, key, 1)
    result = evaluate(store, key).result
    assert (result.label, result.completed) == ("exploratory", 2)
    assert "People who began afterwards: 1. All results are therefore exploratory." in result.texts[-1]


@pytest.mark.parametrize(
    ("finished", "look", "label"),
    [
        (2, None, "confirmatory"),
        (1, None, "interim"),
        (2, ("", 2, 0), "confirmatory"),
        (1, ("", 1, 0), "interim"),
        (2, ("", 1, 0), "exploratory"),  # the last one was at it when conditions were seen, and completed the number
        (3, ("", 2, 1), "exploratory"),
        (1, ("", 1, 1), "exploratory"),
        (2, ("why", 2, 0), "exploratory"),
    ],
)
def test_labels(finished, look, label):
    seen = look and Look(at="", by="", reason=look[0], completed=look[1], target=2, began_later=look[2])
    assert label_of(Analysis(target_participants=2), finished, seen) == label
    assert label_of(None, finished, seen) == "exploratory"
