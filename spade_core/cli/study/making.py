"""The commands ``study …`` that make, change and open studies: drafts, versions, copies, states."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from spade_core.cli.common import emit, table, warn
from spade_core.cli.study.common import given, on_store, study_store
from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import cautions, list_studies, publish, save_draft, set_status
from spade_core.study.data.versions import copy, design_of, edit, versions
from spade_core.study.design.design import demo_design, load_design
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set


def run_build(options: argparse.Namespace) -> int:
    if not options.demo or options.out:
        from spade_core.cli.study.building import run_build  # publishing the shipped set needs nothing that draws

        return run_build(options)
    with study_store() as store:
        key = publish(store, demo_design(), load_set(DEMO_SET))
    link = f"link  http://127.0.0.1:8501/survey?study={key}"
    lines = [f"key   {key}", link, "a demo: tries the software, measures nothing"]
    return emit(options, {"key": key, "link": f"/survey?study={key}"}, lines)


@on_store
def run_publish(options: argparse.Namespace, store: Store) -> int:
    design, stimuli = load_design(options.design), load_set(options.stimuli)
    key = (save_draft if options.draft else publish)(store, design, stimuli)
    warn(*cautions(design, stimuli))
    lines = [f"key   {key}", f"link  …/survey?study={key}"]
    if options.draft:
        lines[1:] = [f"a draft: “study edit {key} --design FILE” changes it, “study open {key}” publishes it"]
    return emit(options, {"key": key, "link": f"/survey?study={key}", "draft": options.draft}, lines)


@on_store
def run_edit(options: argparse.Namespace, store: Store) -> int:
    design, stimuli = given(options)
    number = edit(store, options.key, design or design_of(store, options.key), stimuli)
    return emit(options, {"key": options.key, "version": number}, [f"{options.key} has version {number}"])


@on_store
def run_copy(options: argparse.Namespace, store: Store) -> int:
    key = copy(store, options.key, *given(options))
    return emit(options, {"key": key, "copy_of": options.key}, [f"key   {key}", "a draft, without participants"])


@on_store
def run_versions(options: argparse.Namespace, store: Store) -> int:
    rows = [
        {
            "number": version.number,
            "saved": f"{datetime.fromtimestamp(version.saved, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "design_sha256": version.design_sha256,
            "stimuli_sha256": version.stimuli_sha256,
        }
        for version in versions(store, options.key)
    ]
    shown = [tuple(row.values())[:3] for row in rows]
    return emit(options, rows, table([("number", "saved", "design's sha256"), *shown]))


@on_store
def run_design(options: argparse.Namespace, store: Store) -> int:
    found = design_of(store, options.key, options.number)
    return emit(options, found.model_dump(mode="json"), [found.to_yaml().rstrip()])


@on_store
def run_move(options: argparse.Namespace, store: Store) -> int:
    set_status(store, options.key, options.status)
    return emit(options, {"key": options.key, "status": options.status}, [f"{options.key} is {options.status}"])


def run_validate(options: argparse.Namespace) -> int:
    if not options.design and not options.stimuli:
        raise ConfigError("Give --design FILE, --set DIR, or both.")
    design, stimuli = given(options)
    if design is not None and stimuli is not None:
        design.check_set(stimuli)
    left, warnings = design.placeholders() if design else [], cautions(design, stimuli)
    found = {"design": design.sha256 if design else None, "placeholders": left}
    found |= {"set": stimuli.sha256 if stimuli else None, "warnings": warnings}
    lines = ["valid", *(f"still a placeholder: {name}" for name in left), *(f"warning: {text}" for text in warnings)]
    return emit(options, found, lines)


@on_store
def run_list(options: argparse.Namespace, store: Store) -> int:
    rows = [{"key": row.key, "name": row.name, "status": row.status, "demo": row.demo} for row in list_studies(store)]
    lines = table([("key", "name", "status", "demo"), *(tuple(row.values()) for row in rows)])
    return emit(options, rows, lines if rows else ["no studies yet: “study build --demo” makes one"])
