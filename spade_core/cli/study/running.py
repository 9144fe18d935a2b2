"""The commands ``study …`` that follow a running study and care for its data."""

from __future__ import annotations

import argparse
import json

from spade_core.cli.common import Meter, emit, table
from spade_core.cli.study.common import WHO, on_store
from spade_core.errors import ConfigError
from spade_core.study.data.backups import backup, forget, restore
from spade_core.study.data.deletion import delete_participant
from spade_core.study.data.store import Store
from spade_core.study.monitoring.free_texts import free_texts, review
from spade_core.study.monitoring.status import status_of
from spade_core.study.running.bots import simulate


@on_store
def run_status(options: argparse.Namespace, store: Store) -> int:
    found = status_of(store, options.key)
    return emit(options, found, [f"{name:<21} {json.dumps(value)}" for name, value in found.items()])


@on_store
def run_simulate(options: argparse.Namespace, store: Store) -> int:
    ends = simulate(store, options.key, options.participants, options.policy, options.seed, progress=Meter())
    found = {"policy": options.policy, "seed": options.seed, "ends": ends, "simulated": True}
    return emit(options, found, [f"SIMULATED {name}: {count}" for name, count in ends.items()])


@on_store
def run_backup(options: argparse.Namespace, store: Store) -> int:
    if options.forget is not None:
        found = forget(store, options.forget)
        lines = [f"{count} people deleted from {file}" for file, count in found.items()]
        return emit(options, found, lines or ["there are no backups"])
    backup(store, options.out)
    return emit(options, {"file": options.out}, [f"backup in {options.out}"])


@on_store
def run_restore(options: argparse.Namespace, store: Store) -> int:
    saved = restore(store, options.file)
    lines = [f"restored {options.file}", *([f"what was there before is in {saved}"] if saved else [])]
    return emit(options, {"restored": options.file, "saved": str(saved) if saved else None}, lines)


@on_store
def run_delete(options: argparse.Namespace, store: Store) -> int:
    delete_participant(store, options.uid, by=WHO)
    return emit(options, {"deleted": options.uid}, ["deleted"])


@on_store
def run_texts(options: argparse.Namespace, store: Store) -> int:
    both = sorted(set(options.share) & set(options.withhold))
    if both:
        raise ConfigError(f"The text {both[0]} is both to be shared and withheld: name it once.")
    review(store, options.key, options.share, "shared", by=WHO)
    review(store, options.key, options.withhold, "withheld", by=WHO)
    texts = free_texts(store, options.key)
    same = ("decision", "by", "at", "simulated")  # what is told under the name that it has
    found = [
        {"id": text.id, "question": text.name, **{name: getattr(text, name) for name in same}, "text": text.words}
        for text in texts
    ]
    rows = [(text.id, text.name, text.decision or "not read yet", " ".join(text.words.split())) for text in texts]
    return emit(options, found, table([("id", "question", "decision", "text"), *rows]) if rows else ["no texts yet"])
