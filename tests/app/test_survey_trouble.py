"""Answers in headless Chromium while the server is killed, or its connections are cut, around them."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from benchmarks.breakable import Line
from benchmarks.study_kills import STAGES, Cuts, Kills, Ledger, participate
from spade_core.study.data.studies import publish
from tests.study.conftest import real_design, tiny_set

pytestmark = pytest.mark.browser
ONLY_MAIN = dict.fromkeys(("practice", "practice_pass", "catch", "repeats", "attention"), 0)


@pytest.fixture(scope="module")
def key(store, home):
    return publish(store, real_design(trials=6, **ONLY_MAIN), tiny_set(home / "set"))


@pytest.fixture(scope="module")
def ledger():
    return Ledger()


def test_an_answer_survives_a_kill_between_click_and_commit(page, study_server, store, key, ledger):
    participate(page, Kills(study_server), store, key, "killed", ledger, 1, random.Random(0))
    assert (len(ledger.clicks), ledger.struck) == (1, Counter({("killed", STAGES[0]): 1}))
    assert ledger.agrees(store)


def test_answers_survive_connections_cut_around_them(page, study_server, store, key, ledger):
    with Line(study_server.url) as line:
        participate(page, Cuts(line), store, key, "cut", ledger, 3, random.Random(0))
    assert [ledger.struck["cut", stage] for stage in STAGES] == [1, 1, 1]
    assert ledger.agrees(store)
    lost = Ledger({**ledger.clicks, "lost": "region_1"})
    changed = Ledger(dict.fromkeys(ledger.clicks, "cannot_tell"))
    unknown = Ledger(dict(list(ledger.clicks.items())[1:]))
    assert not any(other.agrees(store) for other in (lost, changed, unknown))
