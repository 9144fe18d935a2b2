"""The commands ``study …`` and their options; see :mod:`spade_core.cli.parser`."""

from __future__ import annotations

import argparse

from spade_core.cli.parser import Commands, add_command, add_model


def add_study(commands: Commands) -> None:
    """Add the command and its commands to the parser."""
    parser = commands.add_parser("study", help="human studies", description="Human studies: which region decided?")
    inner = parser.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    _add_making(inner)
    _add_running(inner)


def _add_keyed(inner: Commands, name: str, run: str, text: str) -> argparse.ArgumentParser:
    """Add a command that works on one study."""
    parser = add_command(inner, name, run, text)
    parser.add_argument("key", metavar="KEY", help="of the study, see “study list”")
    return parser


def _add_making(inner: Commands) -> None:
    build = add_command(
        inner, "build", "study.making:run_build", "build a stimulus set from pictures, or publish the demo study"
    )
    build.add_argument(
        "--demo",
        action="store_true",
        help="publish a study of the shipped demo set; with --out, draw the set anew instead",
    )
    build.add_argument("--images", metavar="DIR", help="folder of pictures")
    build.add_argument("--count", type=int, metavar="N", help="number of pictures (default: all)")
    build.add_argument("--practice", type=int, default=6, metavar="N")
    build.add_argument("--catch", type=int, default=4, metavar="N")
    build.add_argument(
        "--references", metavar="DIR", help="pictures for the condition “reference”: the nine that excite a class most"
    )
    build.add_argument(
        "--triggers",
        action="store_true",
        help="paste each trigger into one of the main pictures; take the backdoored model",
    )
    build.add_argument("--steps", type=int, default=512, metavar="N", help="of each drawing (default: %(default)s)")
    build.add_argument("--seed", type=int, default=0, metavar="N")
    build.add_argument("--out", metavar="DIR", help="folder of the set; a stopped run goes on there")
    add_model(build)
    validate = add_command(
        inner, "validate", "study.making:run_validate", "check a design, a stimulus set, or both together"
    )
    validate.add_argument("--design", metavar="FILE", help="YAML; assets/study/template.yaml is one")
    validate.add_argument("--set", metavar="DIR", dest="stimuli", help="stimulus set")
    add_command(inner, "list", "study.making:run_list", "list the studies")
    publish = add_command(
        inner, "publish", "study.making:run_publish", "open a study, or save its draft, and print its key"
    )
    publish.add_argument("--draft", action="store_true", help="save it only; “study open KEY” publishes it later")
    _add_design(publish, required=True)
    edit = _add_keyed(
        inner, "edit", "study.making:run_edit", "save a design as the next version, before anybody has begun"
    )
    _add_design(edit, required=False)
    copy = _add_keyed(
        inner, "copy", "study.making:run_copy", "make a new draft of a study, frozen or not, and print its key"
    )
    _add_design(copy, required=False)
    _add_keyed(
        inner, "versions", "study.making:run_versions", "all saved versions of a design with their hashes and times"
    )
    design = _add_keyed(inner, "design", "study.making:run_design", "print a study's design as YAML")
    design.add_argument("--number", type=int, metavar="N", help="of the version (default: the newest)")
    for name, status, text in (
        ("open", "open", "publish a draft, or take participants again after a pause"),
        ("pause", "paused", "take nobody new; who has begun may finish"),
        ("close", "closed", "take nobody new, for good: a closed study is never opened again"),
    ):
        _add_keyed(inner, name, "study.making:run_move", text).set_defaults(status=status)


def _add_design(parser: argparse.ArgumentParser, *, required: bool) -> None:
    kept = "" if required else "; without, the study's own"
    parser.add_argument(
        "--design", required=required, metavar="FILE", help=f"YAML; assets/study/template.yaml is one{kept}"
    )
    parser.add_argument("--set", required=required, metavar="DIR", dest="stimuli", help=f"stimulus set{kept}")


def _add_running(inner: Commands) -> None:
    _add_keyed(inner, "status", "study.running:run_status", "participants by status, and how full the cells are")
    simulate = _add_keyed(
        inner, "simulate", "study.running:run_simulate", "let bots take part; they never count as people"
    )
    simulate.add_argument("--participants", type=int, required=True, metavar="N")
    simulate.add_argument("--policy", default="rater", metavar="P", help="kind of bot (default: %(default)s)")
    simulate.add_argument("--seed", type=int, default=0, metavar="S")
    analyse = _add_keyed(inner, "analyse", "study.results:run_analyse", "the analysis that the design has fixed")
    analyse.add_argument("--unblind", action="store_true", help="show conditions from now on; logged")
    export = _add_keyed(
        inner, "export", "study.results:run_export", "answers, participants, events or page times as a table"
    )
    export.add_argument("--out", required=True, metavar="FILE")
    export.add_argument(
        "--table",
        choices=("trials", "participants", "events", "pages"),
        default="trials",
        help="one row each (default: %(default)s)",
    )
    export.add_argument("--format", choices=("csv", "parquet", "json"), help="default: by the file's ending, else csv")
    export.add_argument(
        "--shareable",
        action="store_true",
        help="fresh numbers, relative times, only texts that were reviewed",
    )
    texts = _add_keyed(inner, "texts", "study.running:run_texts", "free texts, and which of them may be shared")
    texts.add_argument("--share", nargs="+", default=[], metavar="ID", help="texts that shareable exports may hold")
    texts.add_argument("--withhold", nargs="+", default=[], metavar="ID", help="texts that they may not hold")
    _add_power(inner)
    backup = add_command(
        inner, "backup", "study.running:run_backup", "write a backup, or delete from old ones whoever was deleted since"
    )
    what = backup.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", metavar="FILE", help="write a backup")
    what.add_argument(
        "--forget",
        nargs="*",
        metavar="PATH",
        help="delete people deleted since from these backups or folders of *.backup (default: the program's own of "
        "this database)",
    )
    restore = add_command(
        inner, "restore", "study.running:run_restore", "put a backup in the place of the study database"
    )
    restore.add_argument("file", metavar="FILE", help="that “study backup” wrote")
    remove = add_command(inner, "delete-participant", "study.running:run_delete", "delete one participation for good")
    remove.add_argument("uid", metavar="UID", help="participant_uid of the export")


def _add_power(inner: Commands) -> None:
    power = add_command(
        inner, "power", "study.power:run_power", "power by simulation, of the trials that a design hands out"
    )
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


def _add_assumptions(group: argparse._ArgumentGroup) -> None:
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
