"""Ratings and free text of a design's own: from the YAML to the analysis, on both engines."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import func, select

from spade_core.config import ASSETS
from spade_core.errors import ConfigError
from spade_core.study.analysis.evaluation import analyse, evaluate, report_text
from spade_core.study.analysis.report import methods_text, preregistration
from spade_core.study.analysis.tables import tables_text
from spade_core.study.data import backups
from spade_core.study.data import deletion as care
from spade_core.study.data.backups import restore
from spade_core.study.data.studies import publish, unblind
from spade_core.study.data.tables import Audit, Participant, Study, TextReview, Trial
from spade_core.study.design.design import TEMPLATE, parse_design
from spade_core.study.design.questions import Extra, Questions, read_replies
from spade_core.study.export.codebook import codebook_of, hidden_columns
from spade_core.study.export.export import export, trial_table
from spade_core.study.monitoring.free_texts import free_texts, review
from spade_core.study.running.bots import simulate
from tests.reference import study as slow
from tests.study.analysis.test_analyse import plan, study
from tests.study.conftest import real_design
from tests.study.running.test_flow import again, answer_of, begun, events, flow, in_main, submit

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
    content = real_design().content()
    assert "questions" not in content
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
        ({"help": 1}, {"help": 1}),
        ({"help": 5, "why": " a\nb\x00\ud800 "}, {"help": 5, "why": "a\nb"}),
        ({"help": 5, "why": ""}, {"help": 5}),
        ({"help": 5, "why": None}, {"help": 5}),
        (None, None),
        ({}, None),
        ({"why": "x"}, None),
        ({"help": 0}, None),
        ({"help": 6}, None),
        ({"help": "1"}, None),
        ({"help": True}, None),
        ({"help": 1.0}, None),
        ({"help": 1, "why": 3}, None),
        ({"help": 1, "other": 1}, None),
        ({"help": 1, "why": "x" * 21}, None),
        ([1], None),
        ("help", None),
    ],
)
def test_replies_are_taken_within_their_limits_only(given, replies):
    assert read_replies(Questions.model_validate(EXTRA).extra, given) == replies


def test_every_kind_says_what_bots_exports_and_texts_need():
    """A kind is one class and its two looks: no other module tells kinds apart."""
    design = real_design(questions=EXTRA)
    kinds, looks = get_args(get_args(Extra)[0]), (ASSETS / "trial" / "extra.js").read_text(encoding="utf-8")
    assert {type(one) for one in design.questions.extra} == set(kinds), "a new kind joins the questions above"
    columns, hidden, text = codebook_of(design), hidden_columns(design), preregistration(design)
    for one in design.questions.extra:
        assert read_replies([one], {one.name: one.pretend(random.Random(0))})
        assert (columns[one.column].kind, columns[one.column].meaning) == (one.unit, one.meaning)
        assert (one.column in hidden) == one.hidden
        assert f"“{one.text}” ({one.method})" in text
        assert f"\n  {one.kind}: {{\n" in looks


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


@pytest.mark.one_engine
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


def finished(store, key, comment="thanks", **options):
    """Let one person answer everything, with replies, and leave a comment."""
    who = in_main(store, key, **options)
    number = 0
    while (trial := flow.current_trial(store, who)) is not None:
        extra = {"help": 1 + number % 5} | ({"why": f"look {number}"} if number < 2 else {})
        submit(store, who, answer_of(trial, trial.required or trial.reference_side, extra=extra))
        number += 1
    return flow.finish_study(store, flow.remark(store, again(store, who), comment))


def words(store, key, **options):
    """Return the texts in an export, comments once."""
    table = trial_table(store, key, **options)
    return {*table["comment"].dropna(), *(table["text_why"].dropna() if "text_why" in table else ())}


def ids(store, key):
    return {text.words: text.id for text in free_texts(store, key)}


def test_an_export_has_ratings_texts_and_the_comment_with_their_codebook(store, key):
    finished(store, key)
    unblind(store, key, by="test", interim="a test")
    made = export(store, key, "json")
    data, rows = made.data, made.rows
    found = json.loads(data)
    assert len(found["rows"]) == rows == 6 + 18
    assert found["codebook"]["rating_help"] == {
        "type": "1-5",
        "meaning": "“How much did it help?”; empty where not answered, and in practice",
    }
    assert "What did you look at?" in found["codebook"]["text_why"]["meaning"]
    assert [row["rating_help"] for row in found["rows"]] == [None] * 6 + [1 + number % 5 for number in range(18)]
    assert [row["text_why"] for row in found["rows"]] == [None] * 6 + ["look 0", "look 1"] + [None] * 16
    assert {row["comment"] for row in found["rows"]} == {"thanks"}
    csv = pd.read_csv(io.BytesIO(export(store, key, "csv").data))
    assert csv["rating_help"].tolist()[6:] == [1 + number % 5 for number in range(18)]


def test_while_blind_nobody_sees_what_was_written_about_trials(store, key):
    finished(store, key, "fine")
    assert words(store, key) == {"fine"}
    assert "rating_help" in trial_table(store, key)
    assert list(ids(store, key)) == ["fine"]
    trials = store.run(lambda session: list(session.scalars(select(Trial).where(Trial.extra.is_not(None)))))
    hidden = next(trial for trial in trials if "why" in trial.extra)
    secret = hashlib.sha256(f"{hidden.id}/why".encode()).hexdigest()[:16]
    with pytest.raises(ConfigError, match="shows no text"):
        review(store, key, [secret], "shared", by="me")
    unblind(store, key, by="test", interim="a test")
    assert words(store, key) == {"fine", "look 0", "look 1"}
    review(store, key, [secret], "shared", by="me")


def test_a_shareable_export_holds_texts_only_once_they_were_read(store, key):
    who = finished(store, key)
    unblind(store, key, by="test", interim="a test")
    assert words(store, key, shareable=True) == set()
    known = ids(store, key)
    review(store, key, [known["thanks"], known["look 0"]], "shared", by="anna")
    review(store, key, [known["look 1"]], "withheld", by="anna")
    assert words(store, key, shareable=True) == {"thanks", "look 0"}
    assert words(store, key) == {"thanks", "look 0", "look 1"}
    review(store, key, [known["look 0"]], "withheld", by="ben")
    assert words(store, key, shareable=True) == {"thanks"}
    decided = {text.words: (text.decision, text.by) for text in free_texts(store, key)}
    assert decided == {
        "thanks": ("shared", "anna"),
        "look 0": ("withheld", "ben"),
        "look 1": ("withheld", "anna"),
    }
    store.run(lambda session: setattr(session.get(Participant, who.row.uid), "comment", "I am Anna Smith"))
    assert words(store, key, shareable=True) == set(), "a decision is about the words that were read"
    assert free_texts(store, key)[0].decision is None
    notes = store.run(lambda s: [(e.action, e.details) for e in s.scalars(select(Audit)) if "texts" in e.action])
    assert [(action, details["texts"], details["by"]) for action, details in notes] == [
        ("texts shared", 2, "anna"),
        ("texts withheld", 1, "anna"),
        ("texts withheld", 1, "ben"),
    ]
    assert who.row.uid not in str(notes)


def test_a_review_refuses_foreign_ids_and_unknown_decisions(store, stimuli, key):
    finished(store, key)
    unblind(store, key, by="test", interim="a test")
    other = publish(store, real_design(), stimuli)
    for of, decision, match in (
        (other, "shared", "shows no text"),
        (key, "burnt", "not burnt: choose shared or"),
    ):
        with pytest.raises(ConfigError, match=match):
            review(store, of, [ids(store, key)["thanks"]], decision, by="me")
    with pytest.raises(ConfigError, match="shows no text"):
        review(store, key, [ids(store, key)["thanks"], "0" * 16], "shared", by="me")
    assert words(store, key, shareable=True) == set(), "all or nothing"


def test_reviews_outlast_a_backup_and_go_with_their_participant(store, key, pg_tools_where_needed, tmp_path):
    who = finished(store, key)
    finished(store, key, "hello")
    unblind(store, key, by="test", interim="a test")
    review(store, key, [text.id for text in free_texts(store, key)], "shared", by="me")
    backups.backup(store, tmp_path / "out")
    count = select(func.count()).select_from(TextReview)
    total = store.run(lambda session: session.scalar(count))
    assert total == 2 * 3
    care.delete_participant(store, who.row.uid, by="test")
    assert store.run(lambda session: session.scalar(count)) == 3
    restore(store, tmp_path / "out")
    assert store.run(lambda session: session.scalar(count)) == 3
    assert words(store, key, shareable=True) == {"hello", "look 0", "look 1"}


def rated(effect, seed=0):
    """A made-up study whose ratings are ``effect`` steps higher with SPADE, some of them missing."""
    rng = np.random.default_rng(seed)
    trials = study(seed, people=20, conditions=("dense", "spade", "none"), agree=(0.6,) * 3, undecided=(0.2,) * 3)
    values = rng.integers(1, 5, len(trials)) + effect * (trials["condition"] == "spade")
    return trials.assign(rating_help=values.where(rng.random(len(trials)) < 0.9), text_why="=SUM(A1)")


def test_ratings_are_secondary_outcomes_in_holms_family():
    trials, questions = rated(1), Questions.model_validate(EXTRA)
    result = analyse(trials, plan(target_participants=10), asked=questions.ratings).to_dict()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["secondary"]["holm_over"] == ["confidence", "rating_help", "rt"]
    found = result["secondary"]["outcomes"]["rating_help"]
    known = trials[trials["rating_help"].notna()]
    means = known.groupby("condition")["rating_help"].mean()
    assert found["estimate"] == pytest.approx(means["spade"] - means["dense"])
    assert found["label"] == "confirmatory"
    assert found["low"] > 0
    family = result["secondary"]["holm_over"]
    adjusted = slow.holm([result["secondary"]["outcomes"][name]["p"] for name in family])
    assert [result["secondary"]["outcomes"][name]["p_holm"] for name in family] == pytest.approx(adjusted)
    by_condition = result["ratings"]["help"]["by_condition"]
    assert {name: one["mean"] for name, one in by_condition.items()} == pytest.approx(means.to_dict())
    assert sum(one["n"] for one in by_condition.values()) == len(known)
    assert not result["secondary"]["notes"]


def test_without_ratings_nothing_is_analysed_and_without_replies_the_analysis_says_so():
    assert analyse(rated(0), plan()).ratings == {}
    nothing = analyse(rated(0).assign(rating_help=None), plan(), asked=Questions.model_validate(EXTRA).ratings)
    assert nothing.secondary.outcomes["rating_help"].found.estimate is None
    assert "rating_help" not in nothing.secondary.holm_over


def test_the_methods_the_tables_and_the_preregistration_list_the_ratings():
    design = real_design(questions=EXTRA)
    result = analyse(rated(1), design.analysis, asked=design.questions.ratings)
    text = methods_text(design, result)
    for part in (
        "“How much did it help?” (rating from 1 to 5)",
        "SPADE - dense +",
        "after Holm's correction",
        "half_credit, cannot_tell, rt, confidence, rating_help",
        "free text, not analysed",
    ):
        assert part in text
    assert "| How much did it help? | 1 to 5 | SPADE |" in tables_text(result)
    assert "steps" in next(row for row in tables_text(result).splitlines() if "“How much" in row)
    before = preregistration(design)
    assert "rating_help" in before
    assert "“What did you look at?” (free text" in before
    assert "rating_" not in preregistration(real_design())


@pytest.mark.one_engine
def test_a_simulated_study_is_analysed_with_its_ratings(store, key):
    simulate(store, key, 4, "rater", seed=0)
    found = evaluate(store, key)
    assert found.result.secondary.outcomes["rating_help"].found.n > 0
    assert "rating_help" in found.result.secondary.holm_over
    assert "“How much did it help?”" in report_text(store, key, found)
