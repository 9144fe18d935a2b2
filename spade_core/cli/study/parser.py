"""The commands ``study …`` and their options; see :mod:`spade_core.cli.parser`."""

from __future__ import annotations

import argparse
from functools import partial

from spade_core.cli.parser import Commands, add_command, add_model


def add_study(commands: Commands) -> None:
    """Add the command and its commands to the parser."""
    parser = commands.add_parser("study", help="human studies", description="Human studies: which region decided?")
    inner = parser.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    _add_build(inner)
    _add_making(inner)
    _add_running(inner)
    _add_power(inner)
    _add_data(inner)


def _keyed(inner: Commands, module: str, name: str, text: str, *, run: str = "") -> argparse.ArgumentParser:
    """Add a command that works on one study."""
    parser = add_command(inner, name, f"study.{module}:run_{run or name}", text)
    parser.add_argument("key", metavar="KEY", help="of the study, see “study list”")
    return parser


def _add_build(inner: Commands) -> None:
    text = "build a stimulus set from pictures, or publish the demo study"
    build = add_command(inner, "build", "study.making:run_build", text)
    add, flag = build.add_argument, partial(build.add_argument, action="store_true")
    flag("--demo", help="publish a study of the shipped demo set; with --out, draw the set anew instead")
    add("--images", metavar="DIR", help="folder of pictures")
    add("--count", type=int, metavar="N", help="number of pictures (default: all)")
    add("--practice", type=int, default=6, metavar="N")
    add("--catch", type=int, default=4, metavar="N")
    nine = "pictures for the condition “reference”: the nine that excite a class most"
    add("--references", metavar="DIR", help=nine)
    flag("--triggers", help="paste each trigger into one of the main pictures; take the backdoored model")
    add("--steps", type=int, default=512, metavar="N", help="of each drawing (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N")
    add("--out", metavar="DIR", help="folder of the set; a stopped run goes on there")
    add_model(build)


def _add_making(inner: Commands) -> None:
    text = "check a design, a stimulus set, or both together"
    _add_design(add_command(inner, "validate", "study.making:run_validate", text))
    add_command(inner, "list", "study.making:run_list", "list the studies")
    text = "open a study, or save its draft, and print its key"
    publish = add_command(inner, "publish", "study.making:run_publish", text)
    publish.add_argument("--draft", action="store_true", help="save it only; “study open KEY” publishes it later")
    _add_design(publish, required=True)
    keyed, kept = partial(_keyed, inner, "making"), "; without, the study's own"
    _add_design(keyed("edit", "save a design as the next version, before anybody has begun"), kept)
    _add_design(keyed("copy", "make a new draft of a study, frozen or not, and print its key"), kept)
    keyed("versions", "all saved versions of a design with their hashes and times")
    design = keyed("design", "print a study's design as YAML")
    design.add_argument("--number", type=int, metavar="N", help="of the version (default: the newest)")
    for name, status, text in (
        ("open", "open", "publish a draft, or take participants again after a pause"),
        ("pause", "paused", "take nobody new; who has begun may finish"),
        ("close", "closed", "take nobody new, for good: a closed study is never opened again"),
    ):
        keyed(name, text, run="move").set_defaults(status=status)


def _add_design(parser: argparse.ArgumentParser, kept: str = "", *, required: bool = False) -> None:
    add = partial(parser.add_argument, required=required)
    add("--design", metavar="FILE", help=f"YAML; assets/study/template.yaml is one{kept}")
    add("--set", metavar="DIR", dest="stimuli", help=f"stimulus set{kept}")


def _add_running(inner: Commands) -> None:
    keyed = partial(_keyed, inner, "running")
    keyed("status", "participants by status, and how full the cells are")
    simulate = keyed("simulate", "let bots take part; they never count as people")
    simulate.add_argument("--participants", type=int, required=True, metavar="N")
    simulate.add_argument("--policy", default="rater", metavar="P", help="kind of bot (default: %(default)s)")
    simulate.add_argument("--seed", type=int, default=0, metavar="S")
    analyse = _keyed(inner, "results", "analyse", "the analysis that the design has fixed")
    text = "show conditions from now on, once no participants are taken; logged"
    analyse.add_argument("--unblind", action="store_true", help=text)
    text = "show them although participants are still taken; all results are then exploratory, for good"
    analyse.add_argument("--interim", metavar="WHY", help=text)
    add = _keyed(inner, "results", "export", "answers, participants, events or page times as a table").add_argument
    add("--out", required=True, metavar="FILE")
    tables = ("trials", "participants", "events", "pages")
    add("--table", choices=tables, default="trials", help="one row each (default: %(default)s)")
    add("--format", choices=("csv", "parquet", "json"), help="default: by the file's ending, else csv")
    anonymous = "fresh numbers, relative times, only texts that were reviewed"
    add("--shareable", action="store_true", help=anonymous)
    add("--bom", action="store_true", help="begin CSV with a mark (BOM), for spreadsheets that need it")
    add = keyed("texts", "free texts, and which of them may be shared").add_argument
    add("--share", nargs="+", default=[], metavar="ID", help="texts that shareable exports may hold")
    add("--withhold", nargs="+", default=[], metavar="ID", help="texts that they may not hold")


def _add_power(inner: Commands) -> None:
    text = "power by simulation, of the trials that a design hands out"
    power = add_command(inner, "power", "study.power:run_power", text)
    add, many = power.add_argument, partial(power.add_argument, type=int, nargs="+", metavar="N")
    add("key", nargs="?", metavar="KEY", help="of a published study; else --design or the template")
    add("--design", metavar="FILE", help="YAML")
    many("--participants", help="default: around the design's target")
    many("--class-neurons", help="default: those of the study's set, else 12 24 60")
    add("--trials", type=int, metavar="N", help="main trials a person (default: the design's)")
    add("--arrangement", choices=("within", "between"), help="default: the design's")
    add("--order", choices=("interleaved", "blocked"), help="default: the design's")
    group = power.add_argument_group("what is taken to be true; standard deviations are on the logit scale")
    true = partial(group.add_argument, type=float)
    true("--effect", metavar="D", help="risk difference of agreement (default: 0.1)")
    true("--baseline", metavar="P", help="agreement under dense (default: 0.567)")
    true("--cannot-tell", nargs="+", metavar="P", help="share under dense, and under SPADE if it is another")
    for name, what in (("participant", "people"), ("class-neuron", "class neurons")):
        true(f"--{name}-sd", nargs=2, metavar=("INTERCEPT", "SLOPE"), help=f"of agreement, over {what}")
    true("--cannot-tell-sd", nargs=2, metavar=("PEOPLE", "NEURONS"), help="of “cannot tell”")
    true("--drift", metavar="D", help="of agreement from the first trial to the last")
    add("--simulations", type=int, default=1000, metavar="N", help="default: %(default)s")
    add("--seed", type=int, default=0, metavar="S")


def _add_data(inner: Commands) -> None:
    text = "write a backup, or delete from old ones whoever was deleted since"
    backup = add_command(inner, "backup", "study.running:run_backup", text)
    what = backup.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", metavar="FILE", help="write a backup")
    which = "these backups or folders of *.backup (default: the program's own of this database)"
    what.add_argument("--forget", nargs="*", metavar="PATH", help=f"delete people deleted since from {which}")
    text = "put a backup in the place of the study database"
    restore = add_command(inner, "restore", "study.running:run_restore", text)
    restore.add_argument("file", metavar="FILE", help="that “study backup” wrote")
    remove = add_command(inner, "delete-participant", "study.running:run_delete", "delete one participation for good")
    remove.add_argument("uid", metavar="UID", help="participant_uid of the export")
