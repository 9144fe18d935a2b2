"""The section of the experimenter's page that says how many people and class neurons a study needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

import streamlit as st

from spade_core.errors import ConfigError
from spade_core.study.data.studies import opened
from spade_core.study.design.design import Design
from spade_core.study.power.assumed import Assumptions, Spread
from spade_core.study.power.power import PowerReport, PowerRequest, PowerResult, curve
from spade_core.ui.common.frame import jobs, study_store
from spade_core.ui.common.panels import show_chart
from spade_core.ui.study.access import follow_asked, offer
from spade_core.ui.study.plots import power_figure

KIND = "study_power"
MOST_SIMULATIONS = 5000
MOST_SIZES, MOST_PEOPLE, MOST_NEURONS = 8, 2000, 500
SHARES = (
    ("baseline", "Agreement under dense", Assumptions.baseline),
    ("effect", "Effect: SPADE - dense", Assumptions.effect),
    ("cannot_tell", "Cannot tell under dense", Assumptions.cannot_tell),
    ("cannot_tell_spade", "Cannot tell under SPADE", Assumptions.cannot_tell),
)
SPREADS = (
    ("participant", "People: intercept", Spread.participant),
    ("participant_slope", "People: slope", Spread.participant_slope),
    ("class_neuron", "Class neurons: intercept", Spread.class_neuron),
    ("class_neuron_slope", "Class neurons: slope", Spread.class_neuron_slope),
    ("cannot_tell_participant", "Cannot tell: people", Spread.cannot_tell_participant),
    ("cannot_tell_class_neuron", "Cannot tell: class neurons", Spread.cannot_tell_class_neuron),
)


def show_power(key: str) -> None:
    """Ask what to take as true, simulate the study as its design hands trials out, and show the power."""
    study = opened(study_store(), key)
    count = len({item.class_neuron for item in study.stimuli.of("main")})
    st.caption(
        f"Simulated studies with the trials that this design hands out ({study.design.arrangement} people, "
        f"{study.design.trials} of {count} class neurons each), answered after what you assume, and analysed as the "
        "design says. The figures say nothing about people."
    )
    with st.form("power_form", border=False):
        request = _asked(study.design, count)
        pressed = st.form_submit_button("Simulate studies", type="primary", key="power")
    show = partial(_show, key)
    follow_asked(jobs(), f"power_{key}", KIND, lambda: request().to_dict(), show, pressed=pressed)


def _asked(design: Design, count: int) -> Callable[[], PowerRequest]:
    """Draw the form; return what reads it as the job's payload."""
    people = st.text_input("Numbers of participants", " ".join(map(str, curve(design))), key="power_people")
    neurons = st.text_input("Numbers of class neurons", str(count), key="power_neurons")
    shares = _numbers(SHARES, -1.0, 1.0, 0.01)
    with st.expander("Random effects: standard deviations on the logit scale"):
        spread = _numbers(SPREADS, 0.0, 5.0, 0.1)
        label = "Drift of agreement from a person's first trial to the last"
        drift = st.number_input(label, -5.0, 5.0, 0.0, 0.1, key="power_drift")
    simulations = st.number_input("Simulated studies", 100, MOST_SIMULATIONS, 1000, 100, key="power_simulations")
    seed = st.number_input("Seed", 0, 2**31, 0, key="power_seed")
    return lambda: PowerRequest(
        design=design,
        participants=_sizes(people, MOST_PEOPLE),
        class_neurons=_sizes(neurons, MOST_NEURONS),
        assumptions=Assumptions(**shares, spread=Spread(**spread), drift=drift),
        simulations=int(simulations),
        seed=int(seed),
    )


def _numbers(fields: tuple[tuple[str, str, float], ...], low: float, high: float, step: float) -> dict[str, float]:
    return {
        name: column.number_input(label, low, high, float(value), step, "%.3f", key=f"power_{name}")
        for column, (name, label, value) in zip(st.columns(len(fields)), fields, strict=True)
    }


def _sizes(text: str, most: int) -> tuple[int, ...]:
    try:
        found = [int(word) for word in text.replace(",", " ").split()]
    except ValueError:
        found = []
    if not 0 < len(found) <= MOST_SIZES or not all(2 <= number <= most for number in found):
        raise ConfigError(f"Give 1 to {MOST_SIZES} whole numbers from 2 to {most}, such as “30 60 120”.")
    return tuple(sorted(set(found)))


def _show(key: str, files: Mapping[str, bytes]) -> None:
    report = PowerReport.model_validate_json(files["power.json"])
    for text in report.texts:
        st.caption(text)
    show_chart(power_figure(report), "power_figure", "Power by the number of participants; the table has the numbers")
    st.dataframe([_row(row) for row in report.rows], hide_index=True, key="power_table")
    st.caption("Shares of simulated studies in percent, ± Monte Carlo standard error.")
    place, name = st.container(), f"{key}_power.json"
    offer(place, "Everything (JSON)", name, lambda: json.dumps(report.to_dict(), indent=1), "power_json")


def _row(row: PowerResult) -> dict[str, object]:
    shown: dict[str, object] = {"class neurons": row.class_neurons, "participants": str(row.participants or "endless")}
    for title, found in (("agreement", row.primary), ("half credit", row.half_credit)):
        shown[f"power: {title}"] = _share(found.power, found.power_error)
        shown[f"coverage: {title}"] = _share(found.coverage, found.coverage_error)
    return {**shown, "power: “people chose better”": _share(row.verdict, row.verdict_error)}


def _share(value: float, error: float) -> str:
    return f"{100 * value:.1f} ± {100 * error:.1f}"
