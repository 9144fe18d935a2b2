"""What the commands ``study …`` share: the database, the study's KEY, a design and a set from files, and who acts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from spade_core.cli.common import add_command

if TYPE_CHECKING:
    from spade_core.study.data.store import Store
    from spade_core.study.design.design import Design
    from spade_core.study.stimuli.stimulus_set import StimulusSet

WHO = "command line"  # in the audit
Command = Callable[[argparse.Namespace, "Store"], int]


@contextmanager
def study_store() -> Iterator[Store]:
    """Yield the installation's study database."""
    from spade_core.config import Settings
    from spade_core.study.data.store import open_store

    store = open_store(Settings.from_environment())
    try:
        yield store
    finally:
        store.close()


def add_stored(inner: Any, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """Add a command that works on the database."""

    def on_store(options: argparse.Namespace) -> int:
        with study_store() as store:
            return run(options, store)

    return add_command(inner, name, on_store, text)


def add_keyed(inner: Any, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """Add a command that works on one study."""
    parser = add_stored(inner, name, run, text)
    parser.add_argument("key", metavar="KEY", help="of the study, see “study list”")
    return parser


def given(options: argparse.Namespace) -> tuple[Design | None, StimulusSet | None]:
    """Return the design and the set that the options name, each or None."""
    from spade_core.study.design.design import load_design
    from spade_core.study.stimuli.stimulus_set import load_set

    return (
        load_design(options.design) if options.design else None,
        load_set(options.stimuli) if options.stimuli else None,
    )
