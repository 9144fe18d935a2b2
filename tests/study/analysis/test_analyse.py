"""The analysis of made-up studies whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from spade_core.errors import ConfigError
from spade_core.study.analysis.estimators import risk_difference
from spade_core.study.analysis.evaluation import analyse
from spade_core.study.analysis.findings import Estimate, NoResult, Note, StudyResult
from spade_core.study.analysis.report import methods_text, preregistration, verdict
from spade_core.study.analysis.secondary import SECONDARY
from spade_core.study.design.design import Analysis, parse_design
from spade_core.study.design.questions import Rating
from tests.reference import study as slow
from tests.study.conftest import real_design

SECTIONS = (
    "primary",
    "half_credit",
    "odds_ratio",
    "table3",
    "by_reference_source",
    "timeouts",
    "sensitivity",
    "exclusions",
    "secondary",
    "reaction_time",
    "confidence",
    "order",
    "sides",
    "krippendorff_alpha",
    "repeats",
    "baselines",
)
HELP = Rating(name="help", kind="rating", text="Did it help?", labels=("no", "yes"))


def plan(**changes):
    settings = {
        "outcome": "agree",
        "sidedness": "two-sided",
        "target_participants": 10,
        "alpha": 0.05,
        "exclusions": ["too_fast"],
        "secondary": ["confidence", "rt"],
        "stopping": "Recruitment stops when the quota is full.",
    }
    return Analysis.model_validate(settings | changes)


def study(seed=0, people=30, items=24, *, agree=(0.6, 0.6), undecided=(0.2, 0.2), conditions=("dense", "spade")):
    """A long table: per condition the share of cannot tell, and of agreement among the decided answers."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(people):
        for index, item in enumerate(rng.permutation(items)):
            which = (item + person) % len(conditions)
            reference = rng.choice(["region_1", "region_2"])
            other = "region_2" if reference == "region_1" else "region_1"
            decided = reference if rng.random() < agree[which] else other
            choice = "cannot_tell" if rng.random() < undecided[which] else str(decided)
            baseline = reference if item % 2 else other
            rows.append(
                {
                    "study_id": "s",
                    "study_version": 1,
                    "code_version": "0",
                    "participant_uid": f"p{person}",
                    "is_bot": False,
                    "is_preview": False,
                    "policy": None,
                    "included": True,
                    "exclusion_reason": None,
                    "cell": 0,
                    "trial_id": f"t{person}-{item}",
                    "trial_index": index,
                    "block_index": 0,
                    "trial_type": "main",
                    "stimulus_id": f"i{item}",
                    "picture_id": f"x{item}",
                    "class_neuron": f"net:{item}",
                    "model_id": "net",
                    "condition": conditions[which],
                    "reference_source": "trigger" if item % 3 == 0 else "scorecam",
                    "keeps_class": item != 5,
                    "reference_side": reference,
                    "central_side": baseline,
                    "contrast_side": reference,
                    "rater_side_dense": other,
                    "rater_side_spade": baseline,
                    "choice": choice,
                    "correct": None if choice == "cannot_tell" else int(choice == reference),
                    "confidence": int(rng.integers(1, 4)),
                    "rt_ms": float(rng.lognormal(7, 0.4)),
                    "rt_source": "browser",
                    "timed_out": False,
                    "n_focus_losses": 0,
                    "repeat_of": None,
                    "submitted_utc": "2026-01-01T00:00:00Z",
                }
            )
    return pd.DataFrame(rows)


def test_the_primary_is_the_estimator_on_first_presentations_of_included_real_people():
    trials = study(1, agree=(0.5, 0.8))
    extra = trials.head(200).copy()
    dirt = [
        extra.assign(trial_type="practice"),
        extra.assign(trial_type="catch"),
        extra.assign(is_preview=True),
        extra.assign(trial_type="repeat", repeat_of=extra.trial_id),
        extra.assign(is_bot=True),
        extra.assign(included=False, exclusion_reason="too_fast"),
    ]
    for number, part in enumerate(dirt):
        part["trial_id"] += f"-{number}"
        if number not in (0, 1, 3):
            part["participant_uid"] += f"-{number}"
        part["choice"] = part["reference_side"]
    result = analyse(pd.concat([trials, *dirt], ignore_index=True), plan())
    agree = (trials.choice == trials.reference_side).astype(float)
    expected = risk_difference(agree, trials.condition == "spade", trials.participant_uid, trials.class_neuron)
    assert result.primary.to_dict() == {"label": "confirmatory", **expected.to_dict()}
    assert result.participants == 30
    assert result.sensitivity.found["exclusions_off"].estimate != pytest.approx(expected.estimate)
    assert result.exclusions.to_dict() == {"people": 39, "excluded": 9, "reasons": {"too_fast": 9}}


def test_the_result_is_json_and_has_every_section():
    found = analyse(
        study(2, conditions=("dense", "spade", "none"), agree=(0.5, 0.8, 0.5), undecided=(0.2,) * 3), plan()
    )
    result = found.to_dict()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for section in SECTIONS:
        assert section in result
    assert list(result["table3"]) == ["dense", "spade", "none"]
    assert set(result["secondary"]["outcomes"]) == set(SECONDARY) - {"spade_vs_reference"}


def test_people_chose_better_only_if_both_intervals_say_so():
    better = analyse(study(3, agree=(0.5, 0.8)), plan())
    assert better.verdict.startswith("People chose better with SPADE")
    assert min(better.primary.found.low, better.half_credit.found.low) > 0
    worse = analyse(study(3, agree=(0.8, 0.5)), plan())
    assert worse.verdict.startswith("People chose worse")
    nothing = analyse(study(3), plan())
    assert nothing.verdict.startswith("No difference in agreement is shown")


@pytest.mark.parametrize("seed", range(3))
def test_an_undecided_shifter_moves_the_primary_but_not_half_credit(seed):
    result = analyse(study(seed, people=60, agree=(0.5, 0.5), undecided=(0.5, 0.05)), plan())
    half = result.half_credit.found
    assert result.primary.found.low > 0
    assert half.low < 0 < half.high
    assert "chose better" not in result.verdict
    assert "deciding more often may explain it" in result.verdict


def test_table_3_counts_by_hand():
    trials = study(4, agree=(0.5, 0.7))
    table = analyse(trials, plan()).to_dict()["table3"]
    for condition in ("dense", "spade"):
        here = trials[trials.condition == condition]
        undecided = int((here.choice == "cannot_tell").sum())
        agree = int((here.choice == here.reference_side).sum())
        found = {name: (cell["count"], cell["n"]) for name, cell in table[condition].items() if isinstance(cell, dict)}
        decided = len(here) - undecided
        assert found == {
            "undecided": (undecided, len(here)),
            "disagree": (decided - agree, len(here)),
            "agree": (agree, len(here)),
            "agree_when_decided": (agree, decided),
            "disagree_when_decided": (decided - agree, decided),
        }
        cell = table[condition]["agree"]
        assert cell["low"] < cell["share"] == agree / len(here) < cell["high"]


def test_class_neurons_have_their_own_differences():
    trials = study(22, agree=(0.5, 0.7))
    late = (trials.class_neuron == "net:3") & (trials.condition == "spade")
    trials.loc[late, "choice"] = None
    rows = analyse(trials, plan()).to_dict()["class_neurons"]
    assert len(rows) == 24
    assert (rows[-1]["class_neuron"], rows[-1]["agree"], rows[-1]["spade"]["n"]) == ("net:3", None, 0)
    known = [row["agree"] for row in rows[:-1]]
    assert known == sorted(known)
    for row in rows[:-1]:
        here = trials[trials.class_neuron == row["class_neuron"]]
        shares = {}
        for condition in ("dense", "spade"):
            part = here[here.condition == condition]
            agree, undecided = part.choice == part.reference_side, part.choice == "cannot_tell"
            shares[condition] = (agree.mean(), (agree + 0.5 * undecided).mean())
            assert row[condition] == {"count": agree.sum(), "n": len(part), "share": pytest.approx(agree.mean())}
        assert row["agree"] == pytest.approx(shares["spade"][0] - shares["dense"][0])
        assert row["half"] == pytest.approx(shares["spade"][1] - shares["dense"][1])


def test_strata_add_up():
    result = analyse(study(5), plan())
    strata = result.by_reference_source
    parts = [stratum.table3["spade"].shares["agree"].count for stratum in strata.values()]
    assert sum(parts) == result.table3["spade"].shares["agree"].count
    assert set(strata) == {"trigger", "scorecam"}


def test_timeouts_are_missing_and_bounded():
    trials = study(6)
    late = (trials.condition == "spade") & (trials.index % 7 == 0)
    trials.loc[late, ["choice", "correct", "confidence", "rt_ms"]] = [None, None, None, np.nan]
    trials.loc[late, "timed_out"] = True
    result = analyse(trials, plan()).to_dict()
    found = result["timeouts"]
    assert found["by_condition"]["spade"]["count"] == late.sum()
    assert found["by_condition"]["dense"]["count"] == 0
    assert found["worst_case"]["estimate"] < result["primary"]["estimate"] < found["best_case"]["estimate"]
    assert found["worst_case"]["n"] == len(trials) == result["primary"]["n"] + late.sum()
    filled = (trials.choice == trials.reference_side).astype(float)
    assert found["worst_case"]["estimate"] == pytest.approx(
        filled[trials.condition == "spade"].mean() - filled[trials.condition == "dense"].mean()
    )


def test_interim_exploratory_and_confirmatory():
    trials = study(7, agree=(0.5, 0.8))
    interim = analyse(trials, plan(target_participants=31))
    assert interim.label == interim.primary.label == "interim"
    assert interim.verdict.startswith("Interim, before the planned number")
    assert analyse(trials, plan(target_participants=30)).label == "confirmatory"
    assert analyse(trials, plan(target_participants=30), completed=29).label == "interim"
    unplanned = analyse(trials, None)
    assert unplanned.label == "exploratory"
    assert unplanned.target_participants == 0
    assert {one.label for one in unplanned.secondary.outcomes.values()} == {"exploratory"}
    assert unplanned.verdict.startswith("Exploratory")


def test_secondary_outcomes_that_were_not_fixed_are_exploratory_and_uncorrected():
    result = analyse(study(8, agree=(0.5, 0.7)), plan(secondary=["rt", "confidence", "charm"])).to_dict()["secondary"]
    outcomes = result["outcomes"]
    assert {name for name, found in outcomes.items() if found["label"] == "confirmatory"} == {"rt", "confidence"}
    assert result["holm_over"] == ["confidence", "rt"]
    adjusted = slow.holm([outcomes[name]["p"] for name in result["holm_over"]])
    assert [outcomes[name]["p_holm"] for name in result["holm_over"]] == pytest.approx(adjusted)
    assert "p_holm" not in outcomes["cannot_tell"]
    assert "'charm'" in result["notes"][0]


def test_reaction_times_of_the_server_stay_out():
    trials = study(9)
    trials.loc[trials.condition == "spade", "rt_ms"] *= 2
    server = trials.index % 4 == 0
    trials.loc[server, "rt_source"] = "server"
    trials.loc[server, "rt_ms"] = 1e9
    found = analyse(trials, plan()).to_dict()["reaction_time"]
    assert found["not_browser"] == server.sum()
    assert found["spade_over_dense"]["ratio"] == pytest.approx(2, rel=0.1)
    assert found["by_condition"]["dense"]["median_ms"] < 5000


def test_order_and_side_effects_are_found():
    trials = study(10, people=40, undecided=(0, 0))
    late = trials.trial_index >= 12
    trials.loc[late & (trials.condition == "spade"), "choice"] = trials.reference_side
    found = analyse(trials, plan()).to_dict()
    assert found["order"]["change_of_difference"]["low"] > 0
    assert found["order"]["second_half"]["low"] > 0.2
    assert abs(found["order"]["first_half"]["estimate"]) < 0.15
    everything_left = analyse(trials.assign(choice="region_1"), plan()).to_dict()["sides"]
    assert everything_left["left_when_decided"]["dense"]["share"] == 1
    assert everything_left["agree_left_minus_right"]["estimate"] == 1


def test_blocked_conditions_leave_no_change_of_difference():
    trials = study(11)
    trials["trial_index"] += 100 * (trials.condition == "spade")
    found = analyse(trials, plan()).order.found
    assert isinstance(found["change_of_difference"], Note)
    assert isinstance(found["first_half"], Note)
    assert found["first_half"].note


def test_krippendorffs_alpha_is_the_definition():
    trials = study(12, people=8, items=10)
    found = analyse(trials, plan()).krippendorff_alpha.by_condition
    for condition in ("dense", "spade"):
        here = trials[trials.condition == condition]
        answer = np.where(here.choice == "cannot_tell", "?", (here.choice == here.reference_side).astype(str))
        units = [list(values) for _, values in pd.Series(answer).groupby(here.stimulus_id.to_numpy())]
        assert found[condition].alpha == pytest.approx(slow.nominal_alpha(units))
    ideal = analyse(trials.assign(choice=trials.reference_side), plan()).krippendorff_alpha.by_condition
    assert ideal["dense"].alpha is None
    assert "same" in ideal["dense"].note


def test_repeats_compare_answers_not_sides():
    trials = study(13, undecided=(0, 0))
    again = trials[trials.trial_index < 4].copy()
    again["repeat_of"], again["trial_type"] = again.trial_id, "repeat"
    again["trial_id"] += "-again"
    swap = {"region_1": "region_2", "region_2": "region_1"}
    for column in ("reference_side", "choice"):  # mirrored on screen, the same answer
        again[column] = again[column].map(swap)
    changed = again.index[again.condition == "dense"][:10]
    again.loc[changed, "choice"] = "cannot_tell"
    found = analyse(pd.concat([trials, again], ignore_index=True), plan()).repeats.by_condition
    assert found["spade"].share == 1
    assert found["dense"].n - found["dense"].count == 10


def test_baselines_count_stimuli_not_answers():
    found = analyse(study(14), plan()).baselines
    assert {name: (b.found.count, b.found.n) for name, b in found.items()} == {
        "central_side": (12, 24),
        "contrast_side": (24, 24),
        "rater_side_dense": (0, 24),
        "rater_side_spade": (12, 24),
    }


def test_bots_stay_out_unless_asked_for_and_are_marked():
    trials = study(15, agree=(0.5, 0.9)).assign(is_bot=True, is_preview=True)
    assert analyse(trials, plan()).verdict.startswith("There are no main trials of included real people")
    result = analyse(trials, plan(), include_bots=True)
    assert result.simulated is True
    assert result.verdict.startswith("SIMULATED: Bots chose better")
    assert all(text.startswith("SIMULATED") for text in result.texts)
    text = methods_text(design(), result)
    assert text.startswith("SIMULATED")
    assert "People chose better" not in text


def test_the_sensitivity_analyses_agree_on_a_clear_effect():
    found = analyse(study(16, agree=(0.4, 0.8)), plan()).sensitivity.found
    for name in ("fixed_effects", "item_t_test", "product_bootstrap", "exclusions_off", "trace_keeps_class"):
        assert found[name].low > 0
    assert "onservative" in found["product_bootstrap"].warning
    assert found["trace_keeps_class"].class_neurons == 23


def test_one_sided_designs_have_one_sided_primaries_and_two_sided_secondaries():
    result = analyse(study(17, agree=(0.5, 0.8)), plan(sidedness="greater"))
    assert result.primary.found.high is None
    assert result.verdict.startswith("People chose better")
    assert result.secondary.outcomes["confidence"].found.high is not None
    assert "interval from" in result.texts[0]


DAMAGES = pytest.mark.parametrize(
    "damage",
    [
        lambda t: pd.DataFrame(),
        lambda t: t.iloc[:0],
        lambda t: t.head(1),
        lambda t: t[t.participant_uid == "p0"],
        lambda t: t[t.condition == "dense"],
        lambda t: t.assign(condition="none"),
        lambda t: t.assign(choice=None),
        lambda t: t.assign(choice=t.reference_side),
        lambda t: t.assign(choice="cannot_tell"),
        lambda t: t.assign(class_neuron="net:1"),
        lambda t: t.assign(included=False),
        lambda t: t.head(3),
        lambda t: t.assign(rt_ms=np.nan, confidence=None),
        lambda t: t.assign(trial_type="catch"),
    ],
)


@DAMAGES
@pytest.mark.parametrize("bots", [False, True])
def test_too_little_data_gives_sentences(damage, bots):
    result = analyse(damage(study(18, people=4, items=6)), plan(), include_bots=bots)
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.verdict.endswith(".")
    assert "chose better" not in result.verdict
    assert methods_text(design(), result)


@DAMAGES
@pytest.mark.parametrize("sidedness", ["two-sided", "greater"])
def test_a_result_is_read_back_from_its_json_as_it_was(damage, sidedness):
    trials = damage(
        study(23, people=4, items=6, conditions=("dense", "spade", "none"), agree=(0.5,) * 3, undecided=(0.3,) * 3)
    )
    result = analyse(trials.assign(rating_help=4), plan(sidedness=sidedness), asked=[HELP])
    written = json.dumps(result.to_dict())
    read = TypeAdapter(StudyResult | NoResult).validate_json(written)
    assert read == result
    assert type(read) is type(result)
    assert json.dumps(read.to_dict()) == written


def test_a_result_is_frozen():
    result = analyse(study(24, people=4, items=6), plan())
    for value, name in ((result, "verdict"), (result.primary, "found"), (result.primary.found, "low")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(value, name, None)


def test_wrong_tables_and_plans_are_refused():
    trials = study(19, people=3)
    for table, settings, message in (
        (trials.drop(columns="condition"), plan(), "lacks condition"),
        (trials.assign(choice="left"), plan(), "unknown values: left"),
    ):
        with pytest.raises(ConfigError, match=message):
            analyse(table, settings)
    for name, value in (("outcome", "speed"), ("sidedness", "less"), ("alpha", 0)):
        with pytest.raises(ConfigError, match=rf"analysis\.{name}"):
            parse_design(yaml.safe_dump(design().model_dump(mode="json") | {"analysis": {name: value}}))


def design(**changes):
    settings = {"name": "Two regions", "version": 3, "conditions": ("dense", "spade"), "analysis": plan()}
    return real_design(**(settings | changes))


def test_the_methods_paragraph_names_what_was_done_and_found():
    result = analyse(study(20, agree=(0.5, 0.8)), plan())
    text = methods_text(design(), result)
    for part in (
        "Two regions, version 3",
        "two-way cluster-robust",
        "half credit",
        "| agree with the reference |",
        result.verdict,
        "alpha = 0.05",
        "Odds ratio",
        "Timeouts: dense 0 of",
        "most contrasted patch 100 % of 24 stimuli",
    ):
        assert part in text
    assert "SIMULATED" not in text


def test_a_demo_measures_nothing():
    demo = design(demo=True)
    result = analyse(study(21, agree=(0.5, 0.8)), plan(), demo=True)
    for text in (methods_text(demo, result), preregistration(demo), result.verdict):
        assert "tries the software, measures nothing" in text
    assert "People chose better" not in result.verdict


def test_the_preregistration_follows_the_design():
    text = preregistration(design(analysis=plan(target_participants=77, sidedness="greater")))
    for part in (
        "77 included participants",
        "one-sided (greater)",
        "too_fast",
        "confidence, rt",
        "quota is full",
        "Holm",
    ):
        assert part in text


def estimate(low, high):
    counts = dict.fromkeys(("df", "participants", "class_neurons", "n"), 30)
    return Estimate(estimate=0.1, se=0.1, low=low, high=high, p=0.5, variance="two-way", **counts)


ABOVE, AROUND, BELOW = (0.01, 0.2), (-0.1, 0.1), (-0.2, -0.01)


@pytest.mark.parametrize(
    ("agreement", "half", "said", "never"),
    [
        (ABOVE, ABOVE, ("chose better", "exclude 0"), ("holds 0",)),
        (BELOW, BELOW, ("chose worse", "exclude 0"), ("holds 0",)),
        (ABOVE, AROUND, ("agreed more often", "the interval holds 0", "better choices are not shown"), ("chose",)),
        (BELOW, AROUND, ("agreed less often", "the interval holds 0", "worse choices are not shown"), ("chose",)),
        (ABOVE, BELOW, ("agreed more often", "lies below 0", "disagreed more often still"), ("holds 0", "chose")),
        (BELOW, ABOVE, ("agreed less often", "lies above 0", "disagreed less often still"), ("holds 0", "chose")),
        (AROUND, ABOVE, ("No difference in agreement", "lies above 0", "better choices are not"), ("holds 0", "chose")),
        (AROUND, BELOW, ("No difference in agreement", "lies below 0", "worse choices are not"), ("holds 0", "chose")),
        (AROUND, AROUND, ("No difference in agreement", "not evidence"), ("half credit", "chose")),
    ],
)
def test_the_verdict_says_where_both_intervals_lie(agreement, half, said, never):
    found = [estimate(*ends) for ends in (agreement, half)]
    text = verdict(*found, "confirmatory", 0.05, simulated=False, demo=False)
    for part in said:
        assert part in text
    for part in never:
        assert part not in text
    assert verdict(*found, "confirmatory", 0.05, simulated=True, demo=False).count("People") == 0


def test_an_open_ended_interval_is_never_below_0():
    above, below = (estimate(low, None) for low in (0.01, -0.3))
    for pair, start in (
        ((above, above), "People chose better"),
        ((above, below), "People agreed more"),
        ((below, above), "No difference"),
        ((below, below), "No difference"),
    ):
        assert verdict(*pair, "confirmatory", 0.05, simulated=False, demo=False).startswith(start)
