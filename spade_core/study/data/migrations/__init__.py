"""Revisions of the study database's tables, and the way up through them.

Alembic is imported only where there is something to do: opening an up-to-date database compares two strings.
"""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection

__all__ = ["HEAD", "VERSIONS", "upgrade"]

VERSIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")  # all that this program knows, oldest first
HEAD = VERSIONS[-1]

_lock = threading.Lock()  # Alembic's context is global to the process


def upgrade(connection: Connection, target: str = HEAD) -> None:
    """Bring the tables up to ``target`` within the connection's transaction.

    Args:
        connection: in a transaction, which the caller commits: all revisions happen, or none.
        target: one of ``VERSIONS``.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _lock:
        command.upgrade(config, target)
