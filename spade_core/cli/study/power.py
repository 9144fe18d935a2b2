"""The command ``study power``: how many people and class neurons it takes, by simulation."""

from __future__ import annotations

import argparse

from spade_core.cli.common import Meter, emit, table
from spade_core.cli.study.common import study_store
from spade_core.errors import ConfigError
from spade_core.study.data.studies import opened
from spade_core.study.design.design import TEMPLATE, Design, load_design
from spade_core.study.power.assumed import Assumptions, Spread
from spade_core.study.power.power import PowerReport, PowerRequest, power_report

CLASS_NEURONS = (12, 24, 60)
DESIGNED = ("trials", "arrangement", "order")  # options that stand for those of the design


def run_power(options: argparse.Namespace) -> int:
    design, neurons = _design(options)
    changes = {name: getattr(options, name) for name in DESIGNED if getattr(options, name) is not None}
    asked = PowerRequest(
        design=design.model_copy(update=changes),
        class_neurons=options.class_neurons or neurons,
        participants=options.participants,
        assumptions=_assumptions(options),
        simulations=options.simulations,
        seed=options.seed,
    )
    found = power_report(asked, Meter())
    return emit(options, found.to_dict(), [*_lines(found), "", *found.texts])


def _design(options: argparse.Namespace) -> tuple[Design, tuple[int, ...]]:
    if options.key is None:
        return load_design(options.design or TEMPLATE), CLASS_NEURONS
    if options.design:
        raise ConfigError("Give the KEY of a study or --design FILE, not both.")
    with study_store() as store:
        study = opened(store, options.key)
    return study.design, (len({item.class_neuron for item in study.stimuli.of("main")}),)


def _assumptions(options: argparse.Namespace) -> Assumptions:
    spread: dict[str, float] = {}
    for names, given in (
        (("participant", "participant_slope"), options.participant_sd),
        (("class_neuron", "class_neuron_slope"), options.class_neuron_sd),
        (("cannot_tell_participant", "cannot_tell_class_neuron"), options.cannot_tell_sd),
    ):
        spread |= dict(zip(names, given or (), strict=False))
    undecided = options.cannot_tell or []
    if len(undecided) > 2:
        raise ConfigError(
            "--cannot-tell takes one share, or two: give one for both, or that under dense and that under SPADE."
        )
    shares = {name: getattr(options, name) for name in ("effect", "baseline", "drift")}
    shares |= dict(zip(("cannot_tell", "cannot_tell_spade"), undecided, strict=False))
    return Assumptions(spread=Spread(**spread), **{name: value for name, value in shares.items() if value is not None})


def _lines(found: PowerReport) -> list[str]:
    head = ("class neurons", "participants", "agreement", "half credit", "both: “people chose better”")
    rows: list[tuple[object, ...]] = [head]
    for row in found.rows:
        shares = [(one.power, one.power_error) for one in (row.primary, row.half_credit)]
        shares.append((row.verdict, row.verdict_error))
        words = [f"{100 * share:.1f} ± {100 * error:.1f}" for share, error in shares]
        rows.append((row.class_neurons, row.participants or "endless", *words))
    return ["power, % of simulated studies ± Monte Carlo standard error", *table(rows)]
