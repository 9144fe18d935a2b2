"""Export, blinding, evaluation and bots, on both engines."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from spade_core.errors import ConfigError
from spade_core.study.blinding import BLINDED, is_blind
from spade_core.study.bots import POLICIES, simulate
from spade_core.study.checks import rules_only
from spade_core.study.codebook import CODEBOOK
from spade_core.study.evaluation import evaluate, report_text, status_of, unblind
from spade_core.study.export import trial_table, write
from spade_core.study.people import exclude
from spade_core.study.studies import opened
from tests.study.test_flow import answer_of, flow, in_main, submit


def finished(store, key, **options):
    """Let one person answer everything, right."""
    who = in_main(store, key, **options)
    while (trial := flow.current_trial(store, who)) is not None:
        submit(store, who, answer_of(trial, trial.required or trial.reference_side, focus_losses=[3, 9]))
    return flow.finish_study(store, who)


def test_an_export_has_every_answer_and_the_columns_of_the_codebook(store, key):
    simulate(store, key, 6, "ideal", seed=0)
    table = trial_table(store, key)
    assert list(table.columns) == list(CODEBOOK)
    design = opened(store, key).design
    each = design.practice + design.trials + design.catch + design.repeats + design.attention
    assert len(table) == 6 * each
    assert set(table["simulated"]) == {"SIMULATED"}
    assert table[table["trial_type"] == "main"]["correct"].eq(1).all()
    assert table["trial_id"].is_unique


def test_people_blind_a_study_until_it_is_unblinded_and_bots_alone_do_not(store, key):
    simulate(store, key, 2, "random", seed=0)
    assert not is_blind(store, opened(store, key))
    finished(store, key)
    assert is_blind(store, opened(store, key))
    assert not set(BLINDED) & set(trial_table(store, key).columns)
    with pytest.raises(ConfigError, match="--unblind"):
        evaluate(store, key)
    unblind(store, key)
    assert set(BLINDED) <= set(trial_table(store, key).columns)
    result = evaluate(store, key)
    assert not result["simulated"]
    assert result["participants"] == 1


def test_a_shareable_export_has_fresh_numbers_and_relative_times(store, key):
    who = finished(store, key, external_id="PROLIFIC123")
    unblind(store, key)
    store.clock.now += 50
    data = write(trial_table(store, key, shareable=True), "csv").decode()
    assert who.row.uid not in data
    assert "PROLIFIC123" not in data
    assert who.row.seed not in data
    table = trial_table(store, key, shareable=True)
    assert set(table["participant_uid"]) == {"p0001"}
    assert table["submitted_utc"].between(0, 10).all()
    repeats = table[table["trial_type"] == "repeat"]
    assert set(repeats["repeat_of"]) <= set(table["trial_id"])


def test_a_shareable_export_names_the_rules_without_the_experimenters_words(store, key):
    who = finished(store, key)
    exclude(store, key, who.row.uid, "told me that she; experimenter: knows Ada")
    raw, shareable = (trial_table(store, key, shareable=way) for way in (False, True))
    assert raw["exclusion_reason"].str.endswith("knows Ada").all()
    assert set(shareable["exclusion_reason"]) == {"experimenter"}
    assert rules_only("catch; too_fast; experimenter: Ada") == "catch; too_fast; experimenter"
    assert rules_only("catch; too_fast") == "catch; too_fast"


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_formats_hold_the_same_rows(store, key, form):
    simulate(store, key, 1, "rater", seed=0)
    table = trial_table(store, key)
    data = write(table, form)
    if form == "json":
        found = json.loads(data)
        assert set(found["codebook"]) == set(CODEBOOK)
        rows = pd.DataFrame(found["rows"])
    else:
        rows = pd.read_csv(io.BytesIO(data)) if form == "csv" else pd.read_parquet(io.BytesIO(data))
    assert rows["trial_id"].tolist() == table["trial_id"].tolist()
    assert rows["rt_ms"].to_numpy() == pytest.approx(table["rt_ms"].to_numpy())


def test_a_spreadsheet_takes_no_text_for_a_formula():
    table = pd.DataFrame({"policy": ["=1+1", "@x", "two\nlines", None], "is_bot": [True, False, True, False]})
    lines = write(table, "csv").decode("utf-8-sig").splitlines()
    assert lines == ["policy,is_bot", "'=1+1,1", "'@x,0", "two lines,1", ",0"]


def test_every_policy_goes_its_way_and_shows_what_it_is(store, key):
    for policy in POLICIES:
        simulate(store, key, 2, policy, seed=3)
    table = trial_table(store, key)
    main = table[table["trial_type"] == "main"]
    of = {policy: main[main["policy"] == policy] for policy in POLICIES}
    assert of["ideal"]["correct"].eq(1).all()
    assert set(of["always-left"]["choice"]) == {"region_1"}
    assert of["fast-clicker"]["rt_ms"].max() < 600
    assert of["undecided-shifter"]["choice"].eq("cannot_tell").any()
    spade = of["rater"][of["rater"]["condition"] == "spade"]
    assert spade["correct"].eq(1).all()
    assert not table["trial_id"].duplicated().any()
    reasons = table.groupby("policy")["exclusion_reason"].first()
    assert not reasons["ideal"]
    result = evaluate(store, key)
    assert result["simulated"]
    assert result["verdict"].startswith("SIMULATED")
    text = report_text(store, key, result)
    assert "| SIMULATED SPADE |" in text
    assert "SIMULATED: the answers come from bots" in text
    assert status_of(store, key)["people"] == {}


def test_a_simulation_repeats_from_its_seed_and_refuses_nonsense(store, key):
    simulate(store, key, 3, "random", seed=5)
    simulate(store, key, 3, "random", seed=6)
    table = trial_table(store, key)
    by_person = [list(part["choice"]) for _, part in table.groupby("participant_uid", sort=False)]
    assert len({tuple(choices) for choices in by_person}) == 6
    with pytest.raises(ConfigError, match="no policy"):
        simulate(store, key, 1, "genius", seed=0)
    with pytest.raises(ConfigError, match="at least 1"):
        simulate(store, key, 0, "random", seed=0)
