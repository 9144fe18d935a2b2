"""The commands ``study …``: build, publish, follow, simulate, analyse and export human studies."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spade_core.cli.common import Meter, emit, table
from spade_core.cli.study import making, power
from spade_core.cli.study.common import WHO, add_keyed, add_stored
from spade_core.errors import ConfigError

if TYPE_CHECKING:
    from spade_core.study.data.store import Store

if TYPE_CHECKING:
    from spade_core.study.data.store import Store


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("study", help="human studies", description="Human studies: which region decided?")
    inner = parser.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    making.register(inner)
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
    _register_texts(inner)
    power.register(inner)
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
    from spade_core.study.analysis.evaluation import evaluate, report_text
    from spade_core.study.data.studies import unblind

    if options.unblind:
        unblind(store, options.key, by=WHO)
    result = evaluate(store, options.key)
    return emit(options, result.to_dict(), [report_text(store, options.key, result)])


def _export(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.export.export import FORMATS, export

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
    from spade_core.study.data.backups import backup

    backup(store, options.out)
    return emit(options, {"file": options.out}, [f"backup in {options.out}"])


def _forget(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.backups import forget

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


def _register_texts(inner: Any) -> None:
    """Add the command to the parser of ``study``."""
    parser = add_keyed(inner, "texts", _texts, "free texts, and which of them may be shared")
    parser.add_argument("--share", nargs="+", default=[], metavar="ID", help="texts that shareable exports may hold")
    parser.add_argument("--withhold", nargs="+", default=[], metavar="ID", help="texts that they may not hold")


def _texts(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.monitoring.free_texts import free_texts, review

    both = sorted(set(options.share) & set(options.withhold))
    if both:
        raise ConfigError(f"The text {both[0]} is both to be shared and withheld: name it once.")
    review(store, options.key, options.share, "shared", by=WHO)
    review(store, options.key, options.withhold, "withheld", by=WHO)
    texts = free_texts(store, options.key)
    found = [
        {
            "id": text.id, "question": text.name, "decision": text.decision, "by": text.by, "at": text.at,
            "simulated": text.simulated, "text": text.words,
        }
        for text in texts
    ]  # fmt: skip
    rows = [(text.id, text.name, text.decision or "not read yet", " ".join(text.words.split())) for text in texts]
    return emit(options, found, table([("id", "question", "decision", "text"), *rows]) if rows else ["no texts yet"])
