"""What the server sends to participants tells no condition: their frames are read whole, and guessed from."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from benchmarks.blind_guess import guess, number_kernel, word_kernel
from benchmarks.serving import serving
from benchmarks.survey_browser import ready
from benchmarks.survey_client import SurveyClient
from benchmarks.survey_record import early, enter_bot, participate, telling, trials_of
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Event, Trial
from tests.study.conftest import real_design, tiny_set

PEOPLE, NEURONS = 24, 12


@pytest.fixture(scope="module")
def design():
    return real_design(trials=6, catch=1, repeats=1, attention=0, practice=2, practice_pass=1, pause_every=4)


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    return tiny_set(tmp_path_factory.mktemp("blinding") / "set")


@pytest.fixture(scope="module")
def survey(tmp_path_factory, design, stimuli):
    """Yield a server's address, its database and the key of a study."""
    home = tmp_path_factory.mktemp("home")
    store = Store(f"sqlite:///{home / 'study.sqlite3'}", lasting=False)
    key = publish(store, design, stimuli)
    with serving("app.py", {"SPADE_DATA_DIR": str(home), "SPADE_JOBS": "inline"}) as url:
        yield url, store, key
    store.close()


@pytest.fixture(scope="module")
def records(survey):
    url, store, key = survey
    return [participate(url, store, enter_bot(store, key, number, 0)) for number in range(3)]


def without_ids(seen):
    """Return the words of a trial but for its ids, places and hashes."""
    text = re.sub(r'"regions": .*?, "question"', '"question"', seen.text)
    text = re.sub(r'"acknowledged": ?\[.*?\]', "", text)
    return set(re.findall(r"[A-Za-z ]{4,}", re.sub(r"[0-9a-f]{8,}", "#", text)))


@pytest.mark.long
def test_every_frame_of_whole_participations_is_silent(records, design, stimuli):
    for record in records:
        assert record.code
        assert len(record.trials) == 2 + 6 + 1 + 1
        assert early(record, design) == []
        assert telling(record, stimuli) == []
    seen = [one for record in records for one in trials_of(record)]
    assert len({length for one in seen for length in one.pictures}) == 1, "one size for all pictures"
    words = {
        name: [without_ids(one) for one in seen if one.trial.type == "main" and one.trial.condition == name]
        for name in ("dense", "spade")
    }
    assert len(words["dense"]) == len(words["spade"]) == 3 * 2
    assert set.union(*words["dense"]) == set.union(*words["spade"])


def test_what_comes_before_its_time_or_names_a_stimulus_is_found(records, design, stimuli):
    record = records[0]
    practice = record.trials[0].id
    place = record.sent[practice]
    with_feedback = next(heard for heard in record.heard[place:] if re.search('"feedback": ?{', heard.text))
    leak = replace(record, heard=[with_feedback, *record.heard])
    assert any("feedback" in line for line in early(leak, design))
    assert early(replace(record, heard=[*record.heard[record.finished :], *record.heard]), design)
    named = replace(with_feedback, text=with_feedback.text + f'"{stimuli.items[0].files["dense"]}"')
    assert telling(replace(record, heard=[named]), stimuli)


@pytest.fixture(scope="module")
def crossed():
    """Return labels, people and class neurons of a design that shows every class neuron equally often in both."""
    pairs = [(person, neuron) for person in range(PEOPLE) for neuron in range(NEURONS)]
    labels = np.array([(person + neuron) % 2 == 0 for person, neuron in pairs])
    return labels, [f"p{person}" for person, _ in pairs], [f"n{neuron}" for _, neuron in pairs]


def test_the_guess_finds_what_is_planted_and_nothing_in_noise(crossed):
    labels, people, neurons = crossed
    rng = np.random.default_rng(0)
    ids = [rng.bytes(16).hex() for _ in labels]
    size = 1000.0 * np.array([int(name[1:]) for name in neurons])
    silent = word_kernel([f"same words {name} {neuron}" for name, neuron in zip(ids, neurons, strict=True)])
    found = guess(silent, labels, people, neurons, permutations=200)
    assert found.low < 0.5 < found.high
    assert found.p > 0.05
    assert 0.48 < found.chance < 0.52, "class neurons that were learnt from would push it below"
    words = word_kernel(
        [f"same words {name} {'xq' if label else 'zq'}{name[:4]}" for name, label in zip(ids, labels, strict=True)]
    )
    numbers = number_kernel(
        np.column_stack([rng.normal(size=len(labels)), size, labels + rng.normal(size=len(labels))])
    )
    for kernel in (words, numbers):
        told = guess(kernel, labels, people, neurons, permutations=200)
        assert told.low > 0.55
        assert told.p < 0.01


def test_class_neurons_alone_are_guessed_at_chance_where_everybody_has_an_order_of_their_own(crossed):
    labels, people, neurons = crossed
    kinds = np.array([3.0 * (int(name[1:]) % 2) for name in neurons])
    alike, own = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        kernel = number_kernel((kinds + rng.normal(size=len(kinds)))[:, None])
        orders = np.concatenate([rng.permutation(labels[:NEURONS]) for _ in range(PEOPLE)])
        alike.append(guess(kernel, labels, people, neurons, permutations=1, seed=seed).accuracy)
        own.append(guess(kernel, orders, people, neurons, permutations=1, seed=seed).accuracy)
    assert np.mean(own) == pytest.approx(0.5, abs=0.03)
    assert abs(np.mean(alike) - 0.5) > 0.05, "one order puts the guess off chance although nothing leaks"


@pytest.mark.long
def test_forged_messages_change_nothing(survey):
    url, store, key = survey
    (me, query), (other, _) = ready(store, key, "forger"), ready(store, key, "other")
    mine, theirs = (store.run(lambda session, who=who: list(session.scalars(planned(who)))) for who in (me, other))
    client = SurveyClient(url, query.partition("?")[2])
    try:
        sent = {"confidence": 2, "extra": {}, "timed_out": False, "rt_ms": 700.0, "rt_source": "browser"}
        for trial_id in (theirs[0].id, mine[1].id, "0" * 32):
            client._post("answer", {**sent, "trial_id": trial_id, "choice": "region_1"})
        for choice in ("region_1", "region_2", "cannot_tell"):
            client._post("answer", {**sent, "trial_id": mine[0].id, "choice": choice})
        client.run()
    finally:
        client.close()
    now = store.run(lambda session: {one.id: one.choice for one in session.scalars(select(Trial))})
    assert now[mine[0].id] == "region_1", "the first write wins"
    assert [now[trial.id] for trial in [*mine[1:], *theirs]] == [None] * (len(mine) + len(theirs) - 1)
    refused = select(Event.details).where(Event.kind == "refused answer", Event.participant_uid == me.row.uid)
    reasons = [details["reason"] for details in store.run(lambda session: list(session.scalars(refused)))]
    assert reasons == ["foreign", "skipping", "foreign", "conflicting", "conflicting"]


def planned(who):
    return select(Trial).where(Trial.participant_uid == who.row.uid, Trial.type == "practice").order_by(Trial.index)
