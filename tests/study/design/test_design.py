"""The design as data."""

from __future__ import annotations

import re

import pytest

from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import list_studies, opened, publish
from spade_core.study.design.design import TEMPLATE, demo_design, load_design, parse_design
from tests.study.conftest import real_design, tiny_set


def test_the_template_is_valid_has_none_on_and_hides_the_class():
    design = load_design(TEMPLATE)
    assert "none" in design.conditions
    assert not design.show_class
    assert design.placeholders() == [
        *("controller", "contact", "ethics", "retention", "age", "payment", "legal_basis", "recipients"),
    ]
    assert not real_design().placeholders()


def test_yaml_reads_back_to_an_equal_design_and_the_hash_follows_the_content():
    design = real_design(trials=9)
    assert parse_design(design.to_yaml()) == design
    assert parse_design("# a comment\n" + design.to_yaml()).sha256 == design.sha256
    assert real_design(trials=10).sha256 != design.sha256


def test_fields_that_came_later_leave_the_hash_of_older_designs():
    facts = "controller: a\ncontact: b\nethics: c\nretention: d\nage: e\n"
    texts = "texts: {consent: text, instructions: [one]}\n"
    codes = "codes: {complete: A1, declined: B1, screened_out: C1, failed: D1}\n"
    old = parse_design(f"name: old\n{facts}{texts}{codes}")
    # As the first version of the program computed it.
    assert old.sha256 == "9c9e33627f0baf13bc960eb6865fabd3ef7092c065a33a6bb875ea4f384c108f"
    consent = old.consent_sha256
    for later in ({"mobile": "excluded"}, {"minutes_limit": 30}):
        assert old.model_copy(update=later).sha256 != old.sha256
    assert old.model_copy(update={"mobile": "excluded"}).consent_sha256 == consent
    assert old.model_copy(update={"minutes_limit": 30}).consent_sha256 != consent, "the page says it"
    assert parse_design(old.to_yaml()).sha256 == old.sha256


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "no YAML"),
        ("- a", "YAML mapping"),
        ("name: x", "controller"),
        (lambda y: y.replace("trials: 12", "trials: many"), "“trials”"),
        (lambda y: y + "colour: red\n", "“colour”"),
        (lambda y: y.replace("- spade", "- dense"), "at least two different"),
        (lambda y: y.replace("practice_pass: 4", "practice_pass: 9"), "practice_pass"),
        (lambda y: y.replace("return_url: ''", "return_url: http://x"), "return_url"),
        (lambda y: y.replace("DECLINED1", "COMPLETE1"), "must differ"),
        (lambda y: y.replace("correct: 1", "correct: 7"), "must name one of them"),
        (lambda y: y.replace("minutes_limit: null", "minutes_limit: 30"), "needs the completion code “time_over”"),
        (lambda y: y.replace("minutes_limit: null", "minutes_limit: 0"), "“minutes_limit”"),
        (lambda y: y.replace("catch_right: 0.5", "catch_right: 5"), "thresholds.catch_right"),
        (lambda y: y.replace("- 1800.0", "- 1.0"), "the least and the most"),
        (lambda y: y.replace("time_over: ''", "time_over: COMPLETE1"), "must differ"),
    ],
)
def test_a_wrong_design_gets_one_sentence_that_names_the_field(text, words):
    given = text(real_design().to_yaml()) if callable(text) else text
    with pytest.raises(ConfigError, match=words) as caught:
        parse_design(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"trials": 13}, {}, "12 class neurons"),
        ({"catch": 5}, {}, "catch items"),
        ({"practice": 7}, {}, "practice items"),
        ({"conditions": ("dense", "reference")}, {}, "condition reference"),
        ({"catch": 0}, {"catch": 0}, "Attention checks"),
        ({"conditions": ("none", "reference")}, {"references": True}, "No practice item of the set has a visualiz"),
    ],
)
def test_a_set_that_cannot_serve_the_design_is_refused(tmp_path, changes, options, words):
    with pytest.raises(ConfigError, match=words):
        real_design(**changes).check_set(tiny_set(tmp_path, **options))


def test_publishing_refuses_placeholders_and_keeps_what_was_published(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    stimuli = tiny_set(tmp_path / "set")
    with pytest.raises(ConfigError, match="“controller” is still a placeholder"):
        publish(store, load_design(TEMPLATE), stimuli)
    key = publish(store, real_design(), stimuli)
    assert opened(store, key).design == real_design()
    assert [row.key for row in list_studies(store)] == [key]
    assert demo_design().demo
    (tmp_path / "set" / "manifest.json").write_bytes((tmp_path / "set" / "manifest.json").read_bytes() + b"\n")
    from spade_core.study.data import studies

    studies._stimuli.cache_clear()
    with pytest.raises(ConfigError, match="changed after the study was published"):
        opened(store, key)
    store.close()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            ("trials: 12", "trails: 12"),
            "“trails” cannot be used: there is no such field; did you mean “trials”? (line {line})",
        ),
        (
            ("  alpha: 0.05", "  alfa: 0.05"),
            "“analysis.alfa” cannot be used: there is no such field; did you mean “alpha”? (line {line})",
        ),
        (("    catch_right: 0.5", "    zzz: 0.5"), "there is no such field; it has catch_right, fast_ms"),
        (
            ("      correct: 1", "      korrect: 1"),
            "“texts.comprehension.0.korrect” cannot be used: there is no such field; did you mean “correct”? (line",
        ),
        (
            ("# questions:", "questions: {extra: [{kind: text, name: why, text: x, maxlength: 3}]} #"),
            "“questions.extra.0.text.maxlength” cannot be used: there is no such field; did you mean “max_length”?",
        ),
        (
            ("# questions:", "questions: {extra: [{kind: text, name: why, text: x, zzz: 3}]} #"),
            "there is no such field; it has name, text, required, kind, max_length (line {line})",
        ),
        (
            ("quota: 60", "quota: many"),
            "Input should be a valid integer, unable to parse string as an integer (line {line})",
        ),
        (("    catch_right: 0.5", "    catch_right: 5"), "should be less than or equal to 1 (line {line})"),
        (("practice_pass: 4", "practice_pass: 9"), "“practice_pass” cannot be more than “practice” (line {line})"),
        (("  question: Which", "  kwestion: Which"), "did you mean “question”? (line {line})"),
        (("  complete: COMPLETE1", "  # complete"), "“codes.complete” cannot be used: Field required (line"),
        (("quota: 60", "quota: 2001-99-99"), "The design is no YAML: month must be in 1..12 (line {line})."),
        (
            ("quota: 60", "quota: !!float x"),
            "no YAML: could not convert string to float: 'x' (line {line}).",
        ),
        (("quota: 60", "quota: [60"), "The design is no YAML: "),
        (("quota: 60", f"quota: {':'.join(180 * '1')}.5"), "The design is no YAML: "),
        (("quota: 60", "quota: \0"), "The design is no YAML: unacceptable character #x0000"),
    ],
)
def test_a_fault_of_a_design_names_field_nearest_one_and_line(changed, words):
    text = TEMPLATE.read_text()
    line = 1 + text[: text.index(changed[0])].count("\n")
    with pytest.raises(ConfigError) as caught:
        parse_design(text.replace(*changed, 1))
    assert words.format(line=line) in str(caught.value)


def test_a_missing_field_has_no_line():
    with pytest.raises(ConfigError, match="“controller” cannot be used: Field required"):
        parse_design(re.sub("(?m)^controller:.*$", "", TEMPLATE.read_text()))
