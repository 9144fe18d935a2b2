"""Addresses of study databases: read, check and show them without their password."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from spade_core.errors import DatabaseError

_SECRET_OPTIONS = ("password", "sslpassword")


def parse(address: str) -> URL:
    """Return a checked address; ``postgres://`` and ``postgresql://`` mean psycopg 3.

    Raises:
        DatabaseError: it is no address of a SQLite file or a PostgreSQL database. The text is not repeated, since a
        misread address may show its password anywhere.
    """
    try:
        url = make_url(address.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise DatabaseError(
            "SPADE_DATABASE_URL is not an address such as postgresql://user:password@host/name (special characters in "
            "the password are written as %XX): correct it."
        ) from None
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
            raise DatabaseError("SPADE_DATABASE_URL must name a file: write sqlite:////folder/study.sqlite3.")
        return url
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise DatabaseError(
            f"SPADE_DATABASE_URL names “{url.drivername[:40]}”: only sqlite:///FILE and postgresql://… are supported."
        )
    return url.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """Return an address that may be shown: neither its password nor passwords among its options."""
    return url.difference_update_query(_SECRET_OPTIONS).render_as_string(hide_password=True)


def sqlite_file(url: URL) -> Path | None:
    """Return the file of a SQLite address; None: PostgreSQL."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
