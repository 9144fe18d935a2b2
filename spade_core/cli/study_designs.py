"""The commands ``study …`` that make, change and open studies: drafts, versions, copies, states."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from spade_core.cli.common import add_command, emit, table

__all__ = ["register"]

OF_A_STUDY = "of the study, see “study list”"


def register(inner: Any, store: Callable[[], Any]) -> None:
    """Add the commands to the parser of ``study``; ``store`` opens the database."""
    commands = _Designs(store)
    publish = add_command(inner, "publish", commands.publish, "open a study, or save its draft, and print its key")
    publish.add_argument("--draft", action="store_true", help="save it only; “study open KEY” publishes it later")
    _add_design(publish, required=True)
    edit = _keyed(inner, "edit", commands.edit, "save a design as the next version, before anybody has begun")
    _add_design(edit, required=False)
    copy = _keyed(inner, "copy", commands.copy, "make a new draft of a study, frozen or not, and print its key")
    _add_design(copy, required=False)
    _keyed(inner, "versions", commands.versions, "all saved versions of a design with their hashes and times")
    design = _keyed(inner, "design", commands.design, "print a study's design as YAML")
    design.add_argument("--number", type=int, metavar="N", help="of the version (default: the newest)")
    for name, status, text in (
        ("open", "open", "publish a draft, or take participants again after a pause"),
        ("pause", "paused", "take nobody new; who has begun may finish"),
        ("close", "closed", "take nobody new, for good: a closed study is never opened again"),
    ):
        _keyed(inner, name, commands.move_to(status), text)


def _keyed(inner: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser = add_command(inner, name, run, text)
    parser.add_argument("key", metavar="KEY", help=OF_A_STUDY)
    return parser


def _add_design(parser: argparse.ArgumentParser, *, required: bool) -> None:
    kept = "" if required else "; without, the study's own"
    parser.add_argument(
        "--design", required=required, metavar="FILE", help=f"YAML; assets/study/template.yaml is one{kept}"
    )
    parser.add_argument("--set", required=required, metavar="DIR", dest="stimuli", help=f"stimulus set{kept}")


class _Designs:
    """The commands, on the database that ``store`` opens."""

    def __init__(self, store: Callable[[], Any]) -> None:
        self.store = store

    def publish(self, options: argparse.Namespace) -> int:
        from spade_core.study.cautions import cautions
        from spade_core.study.studies import publish, save_draft

        design, stimuli = _given(options)
        key = (save_draft if options.draft else publish)(self.store(), design, stimuli)
        for text in cautions(design, stimuli):
            sys.stderr.write(f"warning: {text}\n")
        lines = [f"key   {key}", f"link  …/survey?study={key}"]
        if options.draft:
            lines[1:] = [f"a draft: “study edit {key} --design FILE” changes it, “study open {key}” publishes it"]
        return emit(options, {"key": key, "link": f"/survey?study={key}", "draft": options.draft}, lines)

    def edit(self, options: argparse.Namespace) -> int:
        from spade_core.study.editing import design_of, edit

        store = self.store()
        design, stimuli = _given(options)
        number = edit(store, options.key, design or design_of(store, options.key), stimuli)
        return emit(options, {"key": options.key, "version": number}, [f"{options.key} has version {number}"])

    def copy(self, options: argparse.Namespace) -> int:
        from spade_core.study.editing import copy

        key = copy(self.store(), options.key, *_given(options))
        return emit(options, {"key": key, "copy_of": options.key}, [f"key   {key}", "a draft, without participants"])

    def versions(self, options: argparse.Namespace) -> int:
        from spade_core.study.editing import versions

        rows = [
            {
                "number": version.number, "saved": f"{datetime.fromtimestamp(version.saved, UTC):%Y-%m-%dT%H:%M:%SZ}",
                "design_sha256": version.design_sha256, "stimuli_sha256": version.stimuli_sha256,
            }
            for version in versions(self.store(), options.key)
        ]  # fmt: skip
        shown = [(str(row["number"]), str(row["saved"]), str(row["design_sha256"])) for row in rows]
        return emit(options, rows, table([("number", "saved", "design's sha256"), *shown]))

    def design(self, options: argparse.Namespace) -> int:
        from spade_core.study.editing import design_of

        found = design_of(self.store(), options.key, options.number)
        return emit(options, found.model_dump(mode="json"), [found.to_yaml().rstrip()])

    def move_to(self, status: str) -> Callable[[argparse.Namespace], int]:
        """Return the command that gives a study this state."""

        def run(options: argparse.Namespace) -> int:
            from spade_core.study.studies import set_status

            set_status(self.store(), options.key, status)
            return emit(options, {"key": options.key, "status": status}, [f"{options.key} is {status}"])

        return run


def _given(options: argparse.Namespace) -> tuple[Any, Any]:
    """Return the design and the set that the options name, each or None."""
    from spade_core.study.design import load_design
    from spade_core.study.stimulus_set import load_set

    return (
        load_design(options.design) if options.design else None,
        load_set(options.stimuli) if options.stimuli else None,
    )
