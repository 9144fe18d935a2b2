"""The command ``study power``: how many people and class neurons it takes, by simulation."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from spade_core.cli.common import Meter, add_command, emit, table
from spade_core.cli.study.common import study_store
from spade_core.errors import ConfigError

if TYPE_CHECKING:
    from spade_core.study.design.design import Design
    from spade_core.study.power.assumed import Assumptions
    from spade_core.study.power.power import PowerReport

CLASS_NEURONS = (12, 24, 60)
DESIGNED = ("trials", "arrangement", "order")  # options that stand for those of the design


def register(inner: Any) -> None:
    """Add the command to the parser of ``study``."""
    power = add_command(inner, "power", _power, "power by simulation, of the trials that a design hands out")
    power.add_argument("key", nargs="?", metavar="KEY", help="of a published study; else --design or the template")
    power.add_argument("--design", metavar="FILE", help="YAML")
    power.add_argument("--participants", type=int, nargs="+", metavar="N", help="default: around the design's target")
    power.add_argument(
        "--class-neurons", type=int, nargs="+", metavar="N", help="default: those of the study's set, else 12 24 60"
    )
    power.add_argument("--trials", type=int, metavar="N", help="main trials a person (default: the design's)")
    power.add_argument("--arrangement", choices=("within", "between"), help="default: the design's")
    power.add_argument("--order", choices=("interleaved", "blocked"), help="default: the design's")
    _add_assumptions(power.add_argument_group("what is taken to be true; standard deviations are on the logit scale"))
    power.add_argument("--simulations", type=int, default=1000, metavar="N", help="default: %(default)s")
    power.add_argument("--seed", type=int, default=0, metavar="S")


def _add_assumptions(group: Any) -> None:
    group.add_argument("--effect", type=float, metavar="D", help="risk difference of agreement (default: 0.1)")
    group.add_argument("--baseline", type=float, metavar="P", help="agreement under dense (default: 0.567)")
    group.add_argument(
        "--cannot-tell", type=float, nargs="+", metavar="P", help="share under dense, and under SPADE if it is another"
    )
    for name, what in (("participant", "people"), ("class-neuron", "class neurons")):
        group.add_argument(
            f"--{name}-sd", type=float, nargs=2, metavar=("INTERCEPT", "SLOPE"), help=f"of agreement, over {what}"
        )
    group.add_argument("--cannot-tell-sd", type=float, nargs=2, metavar=("PEOPLE", "NEURONS"), help="of “cannot tell”")
    group.add_argument("--drift", type=float, metavar="D", help="of agreement from the first trial to the last")


def _power(options: argparse.Namespace) -> int:
    from spade_core.study.power.power import power_report

    design, neurons = _design(options)
    changes = {name: getattr(options, name) for name in DESIGNED if getattr(options, name) is not None}
    found = power_report(
        design.model_copy(update=changes),
        options.class_neurons or neurons,
        options.participants,
        _assumptions(options),
        simulations=options.simulations,
        seed=options.seed,
        progress=Meter(),
    )
    return emit(options, found.to_dict(), [*_lines(found), "", *found.texts])


def _design(options: argparse.Namespace) -> tuple[Design, list[int]]:
    """Return the design and the numbers of class neurons."""
    from spade_core.study.design.design import TEMPLATE, load_design

    if options.key is None:
        return load_design(options.design or TEMPLATE), list(CLASS_NEURONS)
    if options.design:
        raise ConfigError("Give the KEY of a study or --design FILE, not both.")
    from spade_core.study.data.studies import opened

    with study_store() as store:
        study = opened(store, options.key)
    return study.design, [len({item.class_neuron for item in study.stimuli.of("main")})]


def _assumptions(options: argparse.Namespace) -> Assumptions:
    from spade_core.study.power.assumed import Assumptions, Spread

    spread: dict[str, float] = {}
    for names, given in (
        (("participant", "participant_slope"), options.participant_sd),
        (("class_neuron", "class_neuron_slope"), options.class_neuron_sd),
        (("cannot_tell_participant", "cannot_tell_class_neuron"), options.cannot_tell_sd),
    ):
        spread |= dict(zip(names, given or (), strict=False))
    undecided = options.cannot_tell or []
    if len(undecided) > 2:
        raise ConfigError("--cannot-tell takes one share, or two: under dense and under SPADE.")
    shares = {name: getattr(options, name) for name in ("effect", "baseline", "drift")}
    shares |= dict(zip(("cannot_tell", "cannot_tell_spade"), undecided, strict=False))
    return Assumptions(spread=Spread(**spread), **{name: one for name, one in shares.items() if one is not None})


def _lines(found: PowerReport) -> list[str]:
    rows: list[tuple[object, ...]] = [
        ("class neurons", "participants", "agreement", "half credit", "both: “people chose better”")
    ]
    for row in found.rows:
        shares = [(one.power, one.power_error) for one in (row.primary, row.half_credit)]
        words = [
            f"{100 * share:.1f} ± {100 * error:.1f}" for share, error in [*shares, (row.verdict, row.verdict_error)]
        ]
        rows.append((row.class_neurons, row.participants or "endless", *words))
    return ["power, % of simulated studies ± Monte Carlo standard error", *table(rows)]
