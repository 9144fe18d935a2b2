"""The command ``study texts``: read what participants wrote, and say which of it may be shared."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from spade_core.cli.common import add_command, emit, table

__all__ = ["register"]

WHO = "command line"


def register(inner: Any, store: Callable[[], Any]) -> None:
    """Add the command to the parser of ``study``; ``store`` opens the database."""
    parser = add_command(
        inner, "texts", lambda options: _texts(options, store()), "free texts, and which of them may be shared"
    )
    parser.add_argument("key", metavar="KEY", help="of the study, see “study list”")
    parser.add_argument("--share", nargs="+", default=[], metavar="ID", help="texts that shareable exports may hold")
    parser.add_argument("--withhold", nargs="+", default=[], metavar="ID", help="texts that they may not hold")


def _texts(options: argparse.Namespace, store: Any) -> int:
    from spade_core.errors import ConfigError
    from spade_core.study.free_texts import free_texts, review

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
