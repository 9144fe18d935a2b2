"""People who do not finish: the design's rule, and attrition by condition."""

from __future__ import annotations

import pytest
from scipy.stats import hypergeom
from sqlalchemy import update

from spade_core.errors import ConfigError
from spade_core.study.analysis.attrition import attrition, homogeneity
from spade_core.study.analysis.evaluation import analyse, evaluate, report_text
from spade_core.study.analysis.report import methods_text, preregistration
from spade_core.study.data.studies import publish, set_status, unblind
from spade_core.study.data.tables import Participant
from spade_core.study.export.rows import read_source
from spade_core.study.running.bots import simulate
from tests.study.analysis.test_analyse import plan, study
from tests.study.conftest import FEW, real_design
from tests.study.running.test_flow import answer_of, flow, in_main, submit


def test_two_conditions_are_fishers_test():
    left, of = (1, 9), (40, 41)
    every = hypergeom(sum(of), sum(left), of[1])
    expected = sum(every.pmf(k) for k in range(sum(left) + 1) if every.pmf(k) <= every.pmf(left[1]) * (1 + 1e-7))
    assert homogeneity({"dense": (1, 40), "spade": (9, 41)}) == pytest.approx(expected)


def test_three_conditions_are_tested_together_and_alike_each_time():
    counts = {"dense": (1, 40), "spade": (9, 41), "none": (2, 39)}
    assert homogeneity(counts) == homogeneity(counts)
    assert homogeneity(counts) < 0.05 < homogeneity({**counts, "spade": (3, 41)})


@pytest.mark.parametrize("counts", [{}, {"dense": (0, 5), "spade": (0, 6)}, {"dense": (5, 5), "spade": (6, 6)}])
def test_where_nobody_left_or_all_there_is_no_test(counts):
    assert homogeneity(counts) is None


def test_the_design_says_whether_unfinished_people_are_analysed():
    trials = study(people=12).assign(status="complete")
    gone = trials["participant_uid"].isin(["p0", "p1"])
    trials.loc[gone, "status"] = "stopped"
    trials.loc[gone, "choice"] = trials["reference_side"]
    alone = analyse(trials[~gone], plan())
    kept, dropped = (analyse(trials, plan(incomplete=rule)) for rule in ("include", "exclude"))
    assert (kept.participants, dropped.participants) == (12, 10)
    assert dropped.primary == alone.primary
    assert kept.sensitivity.found["complete_cases"] == dropped.primary.found
    assert dropped.sensitivity.found["available_cases"] == kept.primary.found
    with pytest.raises(ConfigError, match="lacks status"):
        analyse(trials.drop(columns="status"), plan(incomplete="exclude"))


@pytest.mark.parametrize(("rule", "words"), [("include", "available cases"), ("exclude", "complete cases")])
def test_every_text_says_the_rule_and_its_reason(rule, words):
    design = real_design(analysis={"incomplete": rule})
    said = f"primary analysis {'with the answers that they gave ' if rule == 'include' else ''}({words})"
    for text in (
        preregistration(design),
        methods_text(design, analyse(study().assign(status="complete"), design.analysis)),
    ):
        assert said in text
    assert "tested by Fisher's exact test" in preregistration(design)


@pytest.mark.one_engine
def test_attrition_counts_the_main_trials_at_which_people_left(store, stimuli):
    key = publish(store, real_design(**FEW | {"catch": 0, "repeats": 0, "attention": 0}), stimuli)
    simulate(store, key, 2, "rater", seed=0)
    store.run(lambda session: session.execute(update(Participant).values(is_bot=False, policy=None)))
    whole = dict.fromkeys(("dense", "spade", "none"), 4)
    person = in_main(store, key)
    trials = [flow.current_trial(store, person)]
    submit(store, person, answer_of(trials[0], "region_1"))
    trials.append(flow.current_trial(store, person))
    at_it = attrition(read_source(store, key))
    assert {name: (one.count, one.n) for name, one in at_it.by_condition.items()} == dict.fromkeys(whole, (0, 4))
    flow.stop(store, person)
    found = attrition(read_source(store, key)).by_condition
    for name, count in whole.items():
        met = sum(trial.condition == name for trial in trials)
        assert (found[name].count, found[name].n) == (int(trials[1].condition == name), count + met)
    set_status(store, key, "closed")
    unblind(store, key, by="test")
    report = report_text(store, key, evaluate(store, key))
    assert "Attrition, main trials at which people left for good: " in report
    assert "### Attrition" in report


@pytest.mark.one_engine
def test_attrition_between_participants_counts_people(store, stimuli):
    key = publish(store, real_design(**FEW, arrangement="between"), stimuli)
    simulate(store, key, 6, "rater", seed=0)
    gone = in_main(store, key)
    flow.stop(store, gone)
    store.run(lambda session: session.execute(update(Participant).values(is_bot=False, policy=None)))
    found = attrition(read_source(store, key))
    assert found.between
    assert sum(one.n for one in found.by_condition.values()) == 7
    assert sum(one.count for one in found.by_condition.values()) == 1
