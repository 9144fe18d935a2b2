"""Ratings and free text of a design's own: from the YAML to the analysis, on both engines."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from sqlalchemy import select

from spade_core.errors import ConfigError
from spade_core.study.bots import simulate
from spade_core.study.design import TEMPLATE, parse_design
from spade_core.study.questions import Questions, read_replies
from spade_core.study.studies import publish
from spade_core.study.tables import Participant, Study, Trial
from tests.study.conftest import real_design
from tests.study.test_flow import answer_of, begun, events, flow, in_main, submit

HELP = {"name": "help", "kind": "rating", "text": "How much did it help?", "low": 1, "high": 5, "required": True}
WHY = {"name": "why", "kind": "text", "text": "What did you look at?", "max_length": 20}
EXTRA = {"extra": [HELP, WHY]}


@pytest.fixture
def key(store, stimuli):
    return publish(store, real_design(questions=EXTRA), stimuli)


def test_questions_are_part_of_the_yaml_and_of_the_hash():
    design = real_design(questions=EXTRA)
    assert parse_design(design.to_yaml()) == design
    assert [question.name for question in design.questions.ratings] == ["help"]
    assert [question.name for question in design.questions.texts] == ["why"]
    other = real_design(questions={"extra": [HELP, {**WHY, "max_length": 21}]})
    assert len({design.sha256, other.sha256, real_design().sha256}) == 3


def test_the_questions_in_the_template_are_valid_once_their_marks_are_removed():
    text = re.sub(r"^# (questions:|  .*)$", r"\1", TEMPLATE.read_text(), flags=re.MULTILINE)
    assert [question.kind for question in parse_design(text).questions.extra] == ["rating", "text"]


def test_a_design_without_questions_keeps_the_hash_that_it_had_before_there_were_any():
    content = real_design().model_dump(mode="json")
    del content["questions"]
    assert real_design().sha256 == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ([{**HELP, "kind": "slider"}], "rating"),
        ([{**HELP, "name": "How helpful"}], "“questions.extra.0.rating.name”"),
        ([{**HELP, "low": 5}], "2 to 11 steps"),
        ([{**HELP, "high": 40}], "2 to 11 steps"),
        ([{**HELP, "labels": ["one"]}], "“questions.extra.0.rating.labels"),
        ([{**WHY, "max_length": 5000}], "“questions.extra.0.text.max_length”"),
        ([{**WHY, "low": 1}], "“questions.extra.0.text.low”"),
        ([HELP, {**WHY, "name": "help"}], "a name of its own"),
    ],
)
def test_a_wrong_question_gets_one_sentence_that_names_it(extra, words):
    text = real_design().to_yaml()
    given = text.replace("extra: []", f"extra: {extra}")
    assert given != text
    with pytest.raises(ConfigError, match=words) as caught:
        parse_design(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "replies"),
    [
        ({"help": 1}, {"help": 1}), ({"help": 5, "why": " a\nb\x00\ud800 "}, {"help": 5, "why": "a\nb"}),
        ({"help": 5, "why": ""}, {"help": 5}), ({"help": 5, "why": None}, {"help": 5}),
        (None, None), ({}, None), ({"why": "x"}, None), ({"help": 0}, None), ({"help": 6}, None),
        ({"help": "1"}, None),
        ({"help": True}, None), ({"help": 1.0}, None), ({"help": 1, "why": 3}, None), ({"help": 1, "other": 1}, None),
        ({"help": 1, "why": "x" * 21}, None), ([1], None), ("help", None),
    ],
)  # fmt: skip
def test_replies_are_taken_within_their_limits_only(given, replies):
    assert read_replies(Questions.model_validate(EXTRA).extra, given) == replies


def stored(store, trial):
    return store.run(lambda session: session.get(Trial, trial.id))


def test_replies_are_stored_with_the_answer_and_the_first_ones_stay(store, key):
    who = in_main(store, key)
    trial = flow.current_trial(store, who)
    for wrong in ({}, {"extra": {"help": 9}}, {"extra": {"help": 2, "why": "x" * 21}}, {"extra": "help"}):
        assert submit(store, who, answer_of(trial, **wrong)).refusal == "impossible"
    assert stored(store, trial).answered is None
    answer = answer_of(trial, extra={"help": 2, "why": "ears"}, extra_rt_ms=900.5)
    assert submit(store, who, answer).fresh
    assert submit(store, who, answer).refusal == "repeated"
    assert submit(store, who, {**answer, "extra": {"help": 3, "why": "ears"}}).refusal == "conflicting"
    row = stored(store, trial)
    assert (row.extra, row.details["extra_rt_ms"], row.rt_ms) == ({"help": 2, "why": "ears"}, 900.5, 1500.0)
    assert events(store, who) == ["impossible"] * 4 + ["conflicting"]


def test_practice_asks_nothing_and_a_time_out_needs_no_reply(store, stimuli):
    key = publish(store, real_design(questions=EXTRA, time_limit_ms=5000), stimuli)
    who = begun(store, key)
    trial = flow.current_trial(store, who)
    assert submit(store, who, answer_of(trial, extra={"help": 2})).refusal == "impossible"
    assert submit(store, who, answer_of(trial)).fresh
    assert stored(store, trial).extra is None
    who = in_main(store, key)
    trial = flow.current_trial(store, who)
    late = {"choice": None, "confidence": None, "timed_out": True, "rt_ms": None}
    assert submit(store, who, answer_of(trial, **late)).fresh
    assert stored(store, trial).extra is None


def bots_answers(store, stimuli, policy, **changes):
    """Let two bots take part in a study of their own; return what they replied and chose, by trial."""
    key = publish(store, real_design(**changes), stimuli)
    simulate(store, key, 2, policy, seed=4)
    query = select(Trial).join(Participant, Participant.uid == Trial.participant_uid).join(Study)
    query = query.where(Study.key == key, Trial.type != "practice").order_by(Participant.started, Trial.index)
    rows = store.run(lambda session: list(session.scalars(query)))
    return sorted((row.index, *(row.extra or {}).values()) for row in rows), [row.choice for row in rows]


def test_bots_reply_alike_whatever_their_policy(store, stimuli):
    replies, random_choices = bots_answers(store, stimuli, "random", questions=EXTRA)
    others, left_choices = bots_answers(store, stimuli, "always-left", questions=EXTRA)
    assert replies == others
    assert random_choices != left_choices
    assert len(replies) == 2 * 18
    assert {rating for _, rating, _ in replies} == {1, 2, 3, 4, 5}
    assert all(text.startswith("SIMULATED ") for _, _, text in replies)
    nothing, as_before = bots_answers(store, stimuli, "random")
    assert nothing == [(index,) for index, *_ in replies]
    assert sorted(as_before) == sorted(random_choices), "the choices have chances of their own"
