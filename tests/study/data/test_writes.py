"""Columns of one row written at once, beside what the unit of work writes."""

from __future__ import annotations

from sqlalchemy import select

from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Participant, Trial
from spade_core.study.data.writes import write
from spade_core.study.running.phases import plan_of
from tests.study.conftest import real_design
from tests.study.running.test_flow import begun


def test_a_row_has_what_was_written_and_what_was_assigned(store, stimuli):
    who = begun(store, publish(store, real_design(), stimuli), "me")

    def work(session):
        row = session.get(Participant, who.row.uid)
        trial, other = plan_of(session, row)[:2]
        row.comment = "assigned"
        write(session, row, last_seen=7.0)
        write(session, trial, details={"focus_losses": [1, 2]}, choice="region_1", extra=None)
        assert (row.last_seen, trial.choice, trial.n_focus_losses) == (7.0, "region_1", 2)
        assert not session.is_modified(trial), "the unit of work has nothing to do"
        return trial.id, other.id

    name, other = store.run(work)
    row, trial = store.read(lambda session: (session.get(Participant, who.row.uid), session.get(Trial, name)))
    assert (row.last_seen, row.comment) == (7.0, "assigned")
    assert (trial.details, trial.choice, trial.n_focus_losses) == ({"focus_losses": [1, 2]}, "region_1", 2)
    empty = select(Trial.id).where(Trial.id == name, Trial.extra.is_(None))
    assert store.read(lambda session: session.scalar(empty)) == name, "no reply is no value, rather than JSON's null"
    assert store.read(lambda session: session.get(Trial, other)).details is None
