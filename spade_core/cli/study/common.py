"""What the commands ``study …`` share: the database, a design and a set from files, and who acts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing
from functools import wraps

from spade_core.config import Settings
from spade_core.study.data.store import Store, open_store
from spade_core.study.design.design import Design, load_design
from spade_core.study.stimuli.stimulus_set import StimulusSet, load_set

WHO = "command line"  # in the audit


def study_store() -> closing[Store]:
    """Return the installation's study database, which a ``with`` closes."""
    return closing(open_store(Settings.from_environment()))


def on_store(run: Callable[[argparse.Namespace, Store], int]) -> Callable[[argparse.Namespace], int]:
    """Give a command the study database."""

    @wraps(run)
    def command(options: argparse.Namespace) -> int:
        with study_store() as store:
            return run(options, store)

    return command


def given(options: argparse.Namespace) -> tuple[Design | None, StimulusSet | None]:
    """Return the design and the set that the options name, each or None."""
    design = load_design(options.design) if options.design else None
    return design, load_set(options.stimuli) if options.stimuli else None
