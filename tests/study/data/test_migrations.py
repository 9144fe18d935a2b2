"""Tables of every version: upgraded with their rows, by one migrator, never downwards, on both engines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, bindparam, create_engine, delete, func, inspect, select, text

from spade_core.errors import ConfigError
from spade_core.study.data import migrations, upgrade
from spade_core.study.data.address import parse, sqlite_file
from spade_core.study.data.store import Store
from spade_core.study.data.tables import Base, DesignVersion, Participant, TextReview, Tombstone, Trial
from tests.study.conftest import Clock
from tests.study.people import STUDY, participant_values, trial_values

ROOT = Path(__file__).parent.parent.parent.parent
DETAILS = [None, {}, {"input": "mouse"}, {"focus_losses": []}, {"focus_losses": [1.5, 2.5]}, {"focus_losses": "?"}]
LOSSES = [0, 0, 0, 0, 2, 0]
# Not in the first version.
LATER = {
    "alembic_version",
    "tombstones",
    "n_focus_losses",
    "design_versions",
    "text_reviews",
    "extra",
    "consent_version",
    "part",
    "consent_design_version",
    "barred_ids",
}
MANY = 2500  # trials, more than the second revision holds in memory at once


def first_version(address, *, populated=True, then=None):
    """Make a database of the first version, or of a later one with the first's rows; return these by table."""
    engine = create_engine(parse(address))
    with engine.begin() as connection:
        migrations.upgrade(connection, "0001")
        old = MetaData()
        old.reflect(connection)
        assert "tombstones" not in old.tables
        assert "n_focus_losses" not in old.tables["trials"].columns
        if populated:
            _fill(connection)
        if then is not None:
            migrations.upgrade(connection, then)
    rows = all_rows(engine)
    engine.dispose()
    return rows


def _fill(connection):
    study = {
        "id": STUDY,
        "key": "key",
        "name": "n",
        "status": "open",
        "design": "d",
        "design_sha256": "d",
        "stimuli": "s",
        "stimuli_sha256": "s",
        "demo": False,
        "code_version": "1",
        "created": 1.0,
    }
    connection.execute(_insert("studies", study), [study])
    people = [participant_values(f"u{number}", comment="ä" * number, device={"dpr": 2}) for number in range(3)]
    connection.execute(_insert("participants", people[0]), people)
    identity = {"participant_uid": "u1", "study_id": STUDY, "external_id": "E1", "details": {"SESSION_ID": "x"}}
    connection.execute(_insert("external_ids", identity), [identity])
    trials = [trial_values("u0", index, details=details, answered=1.0) for index, details in enumerate(DETAILS)]
    trials += [trial_values("u1", index, details={"focus_losses": [0] * (index % 3)}) for index in range(MANY)]
    connection.execute(_insert("trials", trials[0]), trials[: len(DETAILS)])
    connection.execute(_insert("trials", trials[-1]), trials[len(DETAILS) :])
    event = {"participant_uid": "u0", "at": 1.0, "kind": "note", "details": {"n": 1}}
    connection.execute(_insert("events", event), [event, event])


def _insert(name, row):
    """Write an insert of one table's row without the columns, and their defaults, that came later."""
    names = list(row)
    columns = ", ".join(f'"{column}"' for column in names)
    typed = [Base.metadata.tables[name].c[column].type for column in names]
    marks = ", ".join(f":{column}" for column in names)
    return text(f'INSERT INTO "{name}" ({columns}) VALUES ({marks})').bindparams(
        *(bindparam(column, type_=kind) for column, kind in zip(names, typed, strict=True))
    )


def all_rows(engine):
    """Return the rows of the first version's columns by table."""
    found = {}
    with engine.connect() as connection:
        reflected = MetaData()
        reflected.reflect(connection)
        for name, table in reflected.tables.items():
            if name in LATER:
                continue
            columns = [column for column in table.columns if column.name not in LATER]
            keys = list(table.primary_key.columns)
            found[name] = [tuple(row) for row in connection.execute(select(*columns).order_by(*keys))]
    return found


def versions_in(address):
    engine = create_engine(parse(address))
    with engine.connect() as connection:
        found = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
    engine.dispose()
    return found


def saved(address, tmp_path):
    """Return the backups that an upgrade made."""
    file = sqlite_file(parse(address))
    folder = tmp_path / "backups" if file is None else file.parent
    return sorted(folder.glob("*.backup"))


@pytest.fixture
def opened(tmp_path):
    stores = []

    def open_(address):
        stores.append(Store(address, clock=Clock(), backups=tmp_path / "backups"))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


def test_the_newest_version_has_exactly_the_tables_of_the_code(store):
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_program_knows_all_revisions_in_their_order():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    assert tuple(entry.revision for entry in reversed(list(script.walk_revisions()))) == migrations.VERSIONS
    assert script.get_current_head() == migrations.HEAD


def test_a_populated_first_version_keeps_its_rows_and_gets_counts(address, pg_tools_where_needed, opened, tmp_path):
    before = first_version(address)
    assert len(before["trials"]) == MANY + len(DETAILS)
    store = opened(address)
    assert all_rows(store.engine) == before
    query = select(Trial.n_focus_losses).where(Trial.participant_uid == "u0").order_by(Trial.index)
    assert store.run(lambda session: list(session.scalars(query))) == LOSSES
    total = select(func.sum(Trial.n_focus_losses)).where(Trial.participant_uid == "u1")
    assert store.run(lambda session: session.scalar(total)) == sum(index % 3 for index in range(MANY))
    (kept,) = store.run(lambda session: list(session.scalars(select(DesignVersion))))
    assert (kept.study_id, kept.number, kept.design, kept.stimuli_sha256, kept.saved) == (STUDY, 1, "d", "s", 1.0)
    assert versions_in(address) == [migrations.HEAD]
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    (backup,) = saved(address, tmp_path)
    assert backup.name.endswith(".version-0001-19700112T134640Z.backup")
    assert backup.stat().st_mode & 0o777 == 0o600
    opened(address)
    assert saved(address, tmp_path) == [backup], "an up-to-date database needs no backup"


def test_a_version_before_replies_keeps_its_rows_and_takes_them(address, pg_tools_where_needed, opened, tmp_path):
    before = first_version(address, then="0003")
    engine = create_engine(parse(address))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO tombstones (uid_sha256, study_id, at) VALUES ('gone', 's', 1.0)"))
        assert "extra" not in {column["name"] for column in inspect(connection).get_columns("trials")}
    engine.dispose()
    store = opened(address)
    assert versions_in(address) == [migrations.HEAD]
    assert all_rows(store.engine) == before
    assert store.run(lambda session: session.scalar(select(Tombstone.uid_sha256))) == "gone"
    assert store.run(lambda session: session.scalar(select(func.count()).where(Trial.extra.is_not(None)))) == 0
    replies = {"help": 3, "why": "ä “quoted” text"}
    review = {"participant_uid": "new", "decision": "shared", "words_sha256": "0", "by": "somebody", "at": 1.0}

    def add(session):
        session.add(Participant(**participant_values("new")))
        session.flush()
        session.add(Trial(**trial_values("new", 0, extra=replies)))
        session.add(TextReview(text_id="1", **review))

    store.run(add)
    assert store.run(lambda session: session.scalar(select(Trial.extra).where(Trial.extra.is_not(None)))) == replies
    store.run(lambda session: session.execute(delete(Participant).where(Participant.uid == "new")))
    assert store.run(lambda session: session.scalar(select(func.count()).select_from(TextReview))) == 0
    (backup,) = saved(address, tmp_path)
    assert ".version-0003-" in backup.name


def test_who_has_agreed_did_so_to_the_last_saved_version(address, pg_tools_where_needed, opened):
    first_version(address, then="0006")
    engine = create_engine(parse(address))
    with engine.begin() as connection:
        connection.execute(text("UPDATE participants SET consented = 1.0, consent_version = 7 WHERE uid = 'u0'"))
        connection.execute(
            text(
                "INSERT INTO design_versions SELECT study_id, 2, design, design_sha256, stimuli, stimuli_sha256, "
                "saved FROM design_versions"
            )
        )
    engine.dispose()
    query = select(Participant.uid, Participant.consent_version, Participant.consent_design_version)
    rows = opened(address).read(lambda session: session.execute(query.order_by(Participant.uid)).all())
    assert [tuple(row) for row in rows] == [("u0", 7, 2), ("u1", None, None), ("u2", None, None)]


def test_the_backup_before_an_upgrade_is_the_first_version_again(tmp_path, opened):
    address = f"sqlite:///{tmp_path / 'study.sqlite3'}"
    before = first_version(address)
    opened(address)
    (backup,) = saved(address, tmp_path)
    engine = create_engine(f"sqlite:///{backup}")
    assert all_rows(engine) == before
    engine.dispose()
    assert versions_in(f"sqlite:///{backup}") == ["0001"]


def test_an_empty_first_version_needs_no_backup(address, opened, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    first_version(address, populated=False)
    opened(address)
    assert versions_in(address) == [migrations.HEAD]
    assert saved(address, tmp_path) == []


def test_postgresql_with_rows_is_not_upgraded_without_pg_dump(postgres, opened, tmp_path, monkeypatch):
    from tests.study.conftest import fresh_database

    monkeypatch.setenv("PATH", str(tmp_path))
    address = fresh_database(postgres)
    before = first_version(address)
    with pytest.raises(ConfigError, match="pg_dump is missing"):
        opened(address)
    assert versions_in(address) == ["0001"]
    engine = create_engine(parse(address))
    assert all_rows(engine) == before
    engine.dispose()


def test_a_failing_revision_leaves_the_old_version(address, pg_tools_where_needed, opened, monkeypatch):
    before = first_version(address)
    true = migrations.upgrade

    def breaks(connection, target=migrations.HEAD):
        true(connection, target)
        raise RuntimeError("the power went")

    monkeypatch.setattr(migrations, "upgrade", breaks)
    with pytest.raises(RuntimeError):
        opened(address)
    assert versions_in(address) == ["0001"]
    monkeypatch.setattr(migrations, "upgrade", true)
    assert all_rows(opened(address).engine) == before


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("start", ["nothing", "first version"])
def test_threads_migrate_once(address, pg_tools_where_needed, opened, tmp_path, monkeypatch, start):
    if start == "first version":
        first_version(address)
    calls, errors = [], []
    true = migrations.upgrade
    monkeypatch.setattr(migrations, "upgrade", lambda connection: (calls.append(1), true(connection)))

    def work():
        try:
            opened(address)
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(calls) == 1
    assert len(saved(address, tmp_path)) == (start == "first version")


def test_processes_migrate_once_from_any_folder(address, pg_tools_where_needed, tmp_path):
    before = first_version(address)
    code = (
        "import sys; from pathlib import Path; from spade_core.study.data.store import Store; "
        "Store(sys.argv[1], backups=Path(sys.argv[2]))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, address, str(tmp_path / "backups")],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [(process.communicate()[1], process.returncode) for process in started] == [("", 0)] * 3
    assert versions_in(address) == [migrations.HEAD]
    assert len(saved(address, tmp_path)) == 1
    engine = create_engine(parse(address))
    assert all_rows(engine) == before
    engine.dispose()


def test_an_up_to_date_database_opens_without_alembic(tmp_path):
    address = f"sqlite:///{tmp_path / 'study.sqlite3'}"
    Store(address).close()
    code = (
        "import sys; from spade_core.study.data.store import Store; Store(sys.argv[1]); "
        "sys.exit(any(name.split('.')[0] in ('alembic', 'mako') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code, address], cwd=ROOT, check=True)


def test_a_newer_version_is_refused_and_untouched(address, opened, tmp_path):
    store = opened(address)
    store.run(lambda session: session.execute(text("UPDATE alembic_version SET version_num = '0999'")))
    with pytest.raises(ConfigError, match=r"newer version of SPADE Studio: update the program\.$"):
        opened(address)
    assert versions_in(address) == ["0999"]
    assert saved(address, tmp_path) == []


def test_tables_of_somebody_else_are_refused(address, opened):
    engine = create_engine(parse(address))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE trials (id INTEGER)"))
    engine.dispose()
    with pytest.raises(ConfigError, match="did not make"):
        opened(address)


def test_names_of_backups_never_collide(tmp_path):
    url = parse(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    first = upgrade.stamped(url, "version-0001", 0.0, tmp_path)
    first.touch()
    second = upgrade.stamped(url, "version-0001", 0.0, tmp_path)
    assert [path.name for path in (first, second)] == [
        "study.sqlite3.version-0001-19700101T000000Z.backup",
        "study.sqlite3.version-0001-19700101T000000Z-2.backup",
    ]


def test_an_upgraded_database_takes_rows(address, pg_tools_where_needed, opened):
    first_version(address)
    store = opened(address)
    store.run(lambda session: session.add(Participant(**participant_values("new"))))
    store.run(lambda session: session.add(Trial(**trial_values("new", 0, details={"focus_losses": [1]}))))
    query = select(Trial.n_focus_losses).where(Trial.participant_uid == "new")
    assert store.run(lambda session: session.scalar(query)) == 1
