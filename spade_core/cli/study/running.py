"""The commands ``study …``: build, publish, follow, simulate, analyse and export human studies."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spade_core.cli import study_texts
from spade_core.cli.common import Meter, add_command, add_model, emit, table
from spade_core.cli.study import making as study_designs
from spade_core.cli.study import power as study_power
from spade_core.cli.study.common import WHO, add_keyed, add_stored, given, study_store
from spade_core.errors import ConfigError

if TYPE_CHECKING:
    from spade_core.study.data.store import Store


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("study", help="human studies", description="Human studies: which region decided?")
    inner = parser.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    _register_making(inner)
    study_designs.register(inner)
    add_keyed(inner, "status", _status, "participants by status, and how full the cells are")
    simulate = add_keyed(inner, "simulate", _simulate, "let bots take part; they never count as people")
    simulate.add_argument("--participants", type=int, required=True, metavar="N")
    simulate.add_argument("--policy", default="rater", metavar="P", help="kind of bot (default: %(default)s)")
    simulate.add_argument("--seed", type=int, default=0, metavar="S")
    analyse = add_keyed(inner, "analyse", _analyse, "the analysis that the design has fixed")
    analyse.add_argument("--unblind", action="store_true", help="show conditions from now on; logged")
    export = add_keyed(inner, "export", _export, "answers, participants, events or page times as a table")
    export.add_argument("--out", required=True, metavar="FILE")
    export.add_argument(
        "--table", choices=("trials", "participants", "events", "pages"), default="trials",
        help="one row each (default: %(default)s)",
    )  # fmt: skip
    export.add_argument("--format", choices=("csv", "parquet", "json"), help="default: by the file's ending, else csv")
    export.add_argument(
        "--shareable",
        action="store_true",
        help="fresh numbers, relative times, only texts that were reviewed",
    )
    study_texts.register(inner)
    study_power.register(inner)
    backup = add_stored(inner, "backup", _backup, "write a backup, or delete from old ones whoever was deleted since")
    what = backup.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", metavar="FILE", help="write a backup")
    what.add_argument(
        "--forget", nargs="*", metavar="PATH",
        help="delete people deleted since from these backups or folders of *.backup (default: the program's own of "
        "this database)",
    )  # fmt: skip
    restore = add_stored(inner, "restore", _restore, "put a backup in the place of the study database")
    restore.add_argument("file", metavar="FILE", help="that “study backup” wrote")
    remove = add_stored(inner, "delete-participant", _delete, "delete one participation for good")
    remove.add_argument("uid", metavar="UID", help="participant_uid of the export")


def _register_making(inner: Any) -> None:
    build = add_command(inner, "build", _build, "build a stimulus set from pictures, or publish the demo study")
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
        "--triggers", action="store_true",
        help="paste each trigger into one of the main pictures; take the backdoored model",
    )  # fmt: skip
    build.add_argument("--steps", type=int, default=512, metavar="N", help="of each drawing (default: %(default)s)")
    build.add_argument("--seed", type=int, default=0, metavar="N")
    build.add_argument("--out", metavar="DIR", help="folder of the set; a stopped run goes on there")
    add_model(build)
    validate = add_command(inner, "validate", _validate, "check a design, a stimulus set, or both together")
    validate.add_argument("--design", metavar="FILE", help="YAML; assets/study/template.yaml is one")
    validate.add_argument("--set", metavar="DIR", dest="stimuli", help="stimulus set")
    add_stored(inner, "list", _list, "list the studies")


def _build(options: argparse.Namespace) -> int:
    if options.demo:
        return _build_demo(options)
    if not options.images or not options.out:
        raise ConfigError("Give --images DIR and --out DIR, or --demo for a study of the shipped set.")
    from spade_core.cli.common import load
    from spade_core.models.loading import load_model
    from spade_core.neurons import RenderConfig
    from spade_core.pictures.splits import pictures_in, spread
    from spade_core.study.stimuli.build import Builder, finish, plan
    from spade_core.trojan import TRIGGERS

    paths = spread(pictures_in(options.images), options.count)
    trace = {"preset": "drawing", "seed": options.seed}
    model, out = load(options), Path(options.out)
    builder = Builder(
        model, load_model(options.model, device=options.device), RenderConfig(steps=options.steps, seed=options.seed),
        trace, out, _references(options.references, paths),
    )  # fmt: skip
    candidates = plan(
        paths, practice=options.practice, catch=options.catch, triggers=list(TRIGGERS) if options.triggers else [],
        side=model.preprocessing.size,
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    found = list(builder.drafts(candidates, rows=out.with_name(out.name + ".rows.jsonl"), progress=Meter()))
    drafts = [draft for draft, _ in found if draft is not None]
    settings = {"drawing": builder.config.to_dict(), "trace": trace, "model": model.sha256}
    if builder.references is not None:
        settings["references"] = {"folder": builder.references.folder.name, "state": builder.references.state()}
    made = finish(
        out, drafts, demo=False, title=out.name, settings=settings, dropped=[rule for _, rule in found if rule]
    )  # fmt: skip
    return _emit_set(options, made)


def _emit_set(options: argparse.Namespace, made: Any) -> int:
    """Print what a built set holds, and warn of what stands in its way."""
    from spade_core.study.design.design import TEMPLATE, load_design

    report = made.about["report"]
    if made.warning:
        sys.stderr.write(f"warning: {made.warning}\n")
    try:
        load_design(TEMPLATE).check_set(made)
    except ConfigError as error:
        sys.stderr.write(f"warning: This set does not serve the template: {error}\n")
    counts = {role: len(made.of(role)) for role in ("main", "practice", "catch")}
    sources = dict(Counter(item.reference_source for item in made.of("main")))
    described = {
        "folder": str(made.folder), "sha256": made.sha256, **counts, "references_from": sources,
        "dropped": made.about["dropped"], **report,
    }  # fmt: skip
    return emit(options, described, [f"{name:<22} {json.dumps(value)}" for name, value in described.items()])


def _references(folder: str | None, pictures: list[Path]) -> Any:
    """Return where the crops of the condition ``reference`` come from, none of them a picture of the study; or None."""
    if folder is None:
        return None
    from spade_core.config import Settings
    from spade_core.study.crops import References
    from spade_core.study.stimuli.build import identity

    keep_in = Settings.from_environment().data_dir / "references"
    own = {identity(path) for path in pictures}
    return References(Path(folder), keep_in, frozenset(sha256 for sha256 in own if sha256))


def _build_demo(options: argparse.Namespace) -> int:
    from spade_core.study.data.studies import publish
    from spade_core.study.design.design import demo_design
    from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

    if options.out:
        from spade_core.study.stimuli.demo import build_demo_set

        made = build_demo_set(Path(options.out), steps=options.steps, device=options.device, progress=Meter())
        return _emit_set(options, made)
    with study_store() as store:
        key = publish(store, demo_design(), load_set(DEMO_SET))
    lines = [
        f"key   {key}",
        f"link  http://127.0.0.1:8501/survey?study={key}",
        "a demo: tries the software, measures nothing",
    ]
    return emit(options, {"key": key, "link": f"/survey?study={key}"}, lines)


def _validate(options: argparse.Namespace) -> int:
    from spade_core.study.cautions import cautions

    if not options.design and not options.stimuli:
        raise ConfigError("Give --design FILE, --set DIR, or both.")
    design, stimuli = given(options)
    if design is not None and stimuli is not None:
        design.check_set(stimuli)
    left, warnings = design.placeholders() if design else [], cautions(design, stimuli)
    found = {
        "design": design.sha256 if design else None, "placeholders": left, "set": stimuli.sha256 if stimuli else None,
        "warnings": warnings,
    }  # fmt: skip
    lines = ["valid", *(f"still a placeholder: {name}" for name in left), *(f"warning: {text}" for text in warnings)]
    return emit(options, found, lines)


def _list(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.studies import list_studies

    rows = [{"key": row.key, "name": row.name, "status": row.status, "demo": row.demo} for row in list_studies(store)]
    lines = table([("key", "name", "status", "demo"), *(tuple(row.values()) for row in rows)])
    return emit(options, rows, lines if rows else ["no studies yet: “study build --demo” makes one"])


def _status(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.monitoring.status import status_of

    found = status_of(store, options.key)
    return emit(options, found, [f"{name:<21} {json.dumps(value)}" for name, value in found.items()])


def _simulate(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.running.bots import simulate

    ends = simulate(store, options.key, options.participants, options.policy, options.seed, progress=Meter())
    found = {"policy": options.policy, "seed": options.seed, "ends": ends, "simulated": True}
    return emit(options, found, [f"SIMULATED {name}: {count}" for name, count in ends.items()])


def _analyse(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.analysis.evaluate import evaluate, report_text, unblind

    if options.unblind:
        unblind(store, options.key, by=WHO)
    result = evaluate(store, options.key)
    return emit(options, result, [report_text(store, options.key, result)])


def _export(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.export.export import export
    from spade_core.study.formats import FORMATS

    out = Path(options.out)
    ending = out.suffix.removeprefix(".").lower()
    form = options.format or (ending if ending in FORMATS else "csv")
    made = export(store, options.key, form, options.table, shareable=options.shareable)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(made.data)
    beside = out.with_name(f"{out.name}.codebook.json")
    if made.codebook is not None:
        beside.write_bytes(made.codebook)
    found = {"file": str(out), "rows": made.rows, "format": form}
    lines = [f"{made.rows} rows in {out}", *([f"codebook in {beside}"] if made.codebook is not None else [])]
    return emit(options, found, lines)


def _backup(options: argparse.Namespace, store: Store) -> int:
    if options.forget is not None:
        return _forget(options, store)
    from spade_core.study.data.deletion import backup

    backup(store, options.out)
    return emit(options, {"file": options.out}, [f"backup in {options.out}"])


def _forget(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.forgetting import forget

    found = forget(store, options.forget)
    lines = [f"{count} people deleted from {file}" for file, count in found.items()]
    return emit(options, found, lines or ["there are no backups"])


def _restore(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.backups import restore

    saved = restore(store, options.file)
    lines = [f"restored {options.file}", *([f"what was there before is in {saved}"] if saved else [])]
    return emit(options, {"restored": options.file, "saved": str(saved) if saved else None}, lines)


def _delete(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.deletion import delete_participant

    delete_participant(store, options.uid, by=WHO)
    return emit(options, {"deleted": options.uid}, ["deleted"])
