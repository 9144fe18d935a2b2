"""The commands ``study …`` that make, change and open studies: drafts, versions, copies, states."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spade_core.cli.common import emit, table
from spade_core.cli.study.common import Command, add_keyed, add_stored, given

if TYPE_CHECKING:
    from spade_core.study.data.store import Store


def register(inner: Any) -> None:
    """Add the commands to the parser of ``study``."""
    publish = add_stored(inner, "publish", _publish, "open a study, or save its draft, and print its key")
    publish.add_argument("--draft", action="store_true", help="save it only; “study open KEY” publishes it later")
    _add_design(publish, required=True)
    edit = add_keyed(inner, "edit", _edit, "save a design as the next version, before anybody has begun")
    _add_design(edit, required=False)
    copy = add_keyed(inner, "copy", _copy, "make a new draft of a study, frozen or not, and print its key")
    _add_design(copy, required=False)
    add_keyed(inner, "versions", _versions, "all saved versions of a design with their hashes and times")
    design = add_keyed(inner, "design", _design, "print a study's design as YAML")
    design.add_argument("--number", type=int, metavar="N", help="of the version (default: the newest)")
    for name, status, text in (
        ("open", "open", "publish a draft, or take participants again after a pause"),
        ("pause", "paused", "take nobody new; who has begun may finish"),
        ("close", "closed", "take nobody new, for good: a closed study is never opened again"),
    ):
        add_keyed(inner, name, _move_to(status), text)


def _add_design(parser: argparse.ArgumentParser, *, required: bool) -> None:
    kept = "" if required else "; without, the study's own"
    parser.add_argument(
        "--design", required=required, metavar="FILE", help=f"YAML; assets/study/template.yaml is one{kept}"
    )
    parser.add_argument("--set", required=required, metavar="DIR", dest="stimuli", help=f"stimulus set{kept}")


def _publish(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.cautions import cautions
    from spade_core.study.data.studies import publish, save_draft
    from spade_core.study.design.design import load_design
    from spade_core.study.stimuli.stimulus_set import load_set

    design, stimuli = load_design(options.design), load_set(options.stimuli)
    key = (save_draft if options.draft else publish)(store, design, stimuli)
    for text in cautions(design, stimuli):
        sys.stderr.write(f"warning: {text}\n")
    lines = [f"key   {key}", f"link  …/survey?study={key}"]
    if options.draft:
        lines[1:] = [f"a draft: “study edit {key} --design FILE” changes it, “study open {key}” publishes it"]
    return emit(options, {"key": key, "link": f"/survey?study={key}", "draft": options.draft}, lines)


def _edit(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.versions import design_of, edit

    design, stimuli = given(options)
    number = edit(store, options.key, design or design_of(store, options.key), stimuli)
    return emit(options, {"key": options.key, "version": number}, [f"{options.key} has version {number}"])


def _copy(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.versions import copy

    key = copy(store, options.key, *given(options))
    return emit(options, {"key": key, "copy_of": options.key}, [f"key   {key}", "a draft, without participants"])


def _versions(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.versions import versions

    rows = [
        {
            "number": version.number, "saved": f"{datetime.fromtimestamp(version.saved, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "design_sha256": version.design_sha256, "stimuli_sha256": version.stimuli_sha256,
        }
        for version in versions(store, options.key)
    ]  # fmt: skip
    shown = [(str(row["number"]), str(row["saved"]), str(row["design_sha256"])) for row in rows]
    return emit(options, rows, table([("number", "saved", "design's sha256"), *shown]))


def _design(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.versions import design_of

    found = design_of(store, options.key, options.number)
    return emit(options, found.model_dump(mode="json"), [found.to_yaml().rstrip()])


def _move_to(status: str) -> Command:
    """Return the command that gives a study this state."""

    def run(options: argparse.Namespace, store: Store) -> int:
        from spade_core.study.data.studies import set_status

        set_status(store, options.key, status)
        return emit(options, {"key": options.key, "status": status}, [f"{options.key} is {status}"])

    return run
