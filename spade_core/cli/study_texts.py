"""The command ``study texts``: read what participants wrote, and say which of it may be shared."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from spade_core.cli.common import emit, table
from spade_core.cli.study.common import WHO, add_keyed

if TYPE_CHECKING:
    from spade_core.study.data.store import Store


def register(inner: Any) -> None:
    """Add the command to the parser of ``study``."""
    parser = add_keyed(inner, "texts", _texts, "free texts, and which of them may be shared")
    parser.add_argument("--share", nargs="+", default=[], metavar="ID", help="texts that shareable exports may hold")
    parser.add_argument("--withhold", nargs="+", default=[], metavar="ID", help="texts that they may not hold")


def _texts(options: argparse.Namespace, store: Store) -> int:
    from spade_core.errors import ConfigError
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
