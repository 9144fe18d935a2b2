"""The jobs of bots, as the worker runs them."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from spade_core.config import Settings
from spade_core.progress import Cancelled, silent
from spade_core.study.analysis.dry_run import DryRun, dry_run, fresh_copy
from spade_core.study.data.store import open_store
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Participant
from spade_core.tasks.study import study_bots, study_dry_run
from tests.study.conftest import FEW, real_design, tiny_set


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Yield the database of the settings."""
    monkeypatch.delenv("SPADE_DATABASE_URL", raising=False)
    found = open_store(Settings.from_environment())
    yield found
    found.close()


@pytest.fixture
def key(installed, tmp_path):
    return publish(installed, real_design(**FEW), tiny_set(tmp_path / "set"))


def test_a_dry_run_gets_all_from_its_payload_and_leaves_the_database_alone(installed, key):
    asked = {"study": fresh_copy(installed, key), "participants": 2, "policy": "rater", "seed": 3}
    files = study_dry_run(json.loads(json.dumps(asked)), emit=None, progress=silent, device="cpu")
    found = json.loads(files["dry_run.json"])
    assert found == dry_run(asked["study"], 2, "rater", 3).to_dict()
    assert DryRun.model_validate(found).to_dict() == found
    assert found["ends"] == {"complete": 2}
    assert installed.run(lambda session: list(session.scalars(select(Participant)))) == []


def test_bots_that_came_before_a_cancel_stay_in_the_study(installed, key):
    payload = {"key": key, "participants": 4, "policy": "ideal", "seed": 0, "run": "1"}

    def stops(done, total, note):
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        study_bots(payload, emit=None, progress=stops, device="cpu")
    rows = installed.run(lambda session: list(session.scalars(select(Participant))))
    assert [(row.status, row.is_bot) for row in rows] == [("complete", True)] * 2
    files = study_bots({**payload, "run": "2"}, emit=None, progress=silent, device="cpu")
    assert json.loads(files["ends.json"]) == {"complete": 4}
