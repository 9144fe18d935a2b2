"""Backups hold what was committed; a restored one brings back nobody who was deleted. On both engines."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, func, inspect, select, text

from spade_core.cli import main
from spade_core.errors import ConfigError
from spade_core.study.data import backups, dumps, migrations
from spade_core.study.data import deletion as care
from spade_core.study.data.address import parse
from spade_core.study.data.backups import forget, restore
from spade_core.study.data.store import Store
from spade_core.study.data.tables import Audit, Event, ExternalId, Participant, Tombstone, Trial
from tests.study.conftest import LONG, fresh_database
from tests.study.data.test_migrations import all_rows, first_version
from tests.study.people import add_person, add_study


def uids(store):
    return set(store.run(lambda session: list(session.scalars(select(Participant.uid)))))


def actions(store):
    return store.run(lambda session: list(session.scalars(select(Audit.action).order_by(Audit.id))))


def databases(store):
    query = text("SELECT count(*) FROM pg_database WHERE datname LIKE 'spade_restore%'")
    return store.run(lambda session: session.scalar(query))


@pytest.fixture
def populated(store, pg_tools_where_needed):
    add_study(store)
    return [add_person(store, f"mark{number}") for number in range(3)]


def test_a_backup_holds_committed_rows_that_are_only_in_the_log(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    add_study(store)
    uid = add_person(store)
    assert store.file.with_name("study.sqlite3-wal").stat().st_size > 0
    shutil.copyfile(store.file, tmp_path / "plain")
    with sqlite3.connect(tmp_path / "plain") as copy:
        assert "participants" not in {row[0] for row in copy.execute("SELECT name FROM sqlite_master")}, (
            "a copy lacks it"
        )
    copy.close()
    backups.backup(store, tmp_path / "out")
    store.close()
    with sqlite3.connect(tmp_path / "out") as saved:
        assert saved.execute("SELECT uid FROM participants").fetchall() == [(uid,)]
        assert saved.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    saved.close()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("out-*"))


def test_backup_and_restore_give_all_rows_back(store, populated, tmp_path):
    backups.backup(store, tmp_path / "out")
    before = all_rows(store.engine)
    with pytest.raises(ConfigError, match="exists"):
        backups.backup(store, tmp_path / "out")
    store.run(lambda session: [session.delete(row) for row in session.scalars(select(Event))])
    added = add_person(store, "later")
    saved = restore(store, tmp_path / "out")
    after = all_rows(store.engine)
    assert {name: rows for name, rows in after.items() if name != "audit"} == {
        name: rows for name, rows in before.items() if name != "audit"
    }
    assert added not in uids(store)
    assert actions(store)[-1] == "restore"
    assert saved is not None
    restore(store, saved)
    assert added in uids(store), "what was there before the restore was saved"


def test_people_deleted_since_the_backup_stay_deleted(store, populated, tmp_path):
    gone, withdrew, kept = populated
    backups.backup(store, tmp_path / "out")
    care.delete_participant(store, gone, by="test")
    assert care.withdraw(store, care.issue_withdrawal(store, withdrew))
    restore(store, tmp_path / "out")
    assert uids(store) == {kept}
    for table in (ExternalId, Trial, Event):
        owners = store.run(lambda session, of=table: set(session.scalars(select(of.participant_uid))))
        assert owners == {kept}
    notes = store.run(lambda session: json.dumps([row.details for row in session.scalars(select(Audit))]))
    assert gone not in notes
    assert store.run(lambda session: session.scalar(select(func.count()).select_from(Tombstone))) == 2
    assert {"delete participant", "withdrawal", "restore"} <= set(actions(store)), "the log loses nothing"
    if store.file is not None:
        found = b"".join(path.read_bytes() for path in store.file.parent.glob("study.sqlite3*") if path.is_file())
        assert b"mark2-external" in found
        assert b"mark0-external" not in found
    restore(store, tmp_path / "out")
    assert uids(store) == {kept}, "the tombstones outlive a restore"


def test_old_backups_forget_whoever_was_deleted_since(store, populated, tmp_path):
    gone, _other, _last = populated
    file = tmp_path / "old.backup"
    backups.backup(store, file)
    backups.backup(store, tmp_path / "kept.backup")
    care.delete_participant(store, gone, by="test")
    assert forget(store, [file]) == {str(file): 1}
    assert forget(store, [tmp_path]) == {str(tmp_path / "kept.backup"): 1, str(file): 0}
    assert file.stat().st_mode & 0o777 == 0o600
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".old")]
    if store.file is not None:
        assert b"mark0-" not in file.read_bytes(), "nothing is left in free pages"
        assert b"mark1-external" in file.read_bytes()
    present = all_rows(store.engine)
    store.run(lambda session: session.execute(delete(Tombstone)))
    restore(store, file)
    after = all_rows(store.engine)
    assert {**after, "audit": []} == {**present, "audit": []}
    assert gone not in str(after["audit"]), "the backup's own audit names nobody who was deleted"
    assert store.run(lambda session: session.scalar(select(func.count()).select_from(Tombstone))) == 1


def test_forgetting_finds_the_programs_own_backups_and_leaves_others_alone(store, populated, tmp_path, caplog):
    assert forget(store) == {}
    backups.backup(store, tmp_path / "mine")
    restore(store, tmp_path / "mine")
    care.delete_participant(store, populated[0], by="test")
    before = (tmp_path / "mine").read_bytes()
    ((name, count),) = forget(store).items()
    assert ".before-restore-" in name
    assert count == 1
    assert (tmp_path / "mine").read_bytes() == before
    folder = Path(name).parent
    own = Path(name).name
    strangers = {
        folder / "somebody-elses.backup": "another program's",
        folder / f"other.{own}": "another database's",
        folder / own.replace("before-restore", "before-lunch"): "mine",
        folder / own.replace("Z.", "Z-2."): "no backup",
    }
    for path, words in strangers.items():
        path.write_text(words)
    assert forget(store) == {name: 0}
    assert "whatever its name says" in caplog.text
    assert caplog.text.count("left as it is") == 1, "the others were not even looked at"
    assert {path: path.read_text() for path in strangers} == strangers
    (tmp_path / "torn").write_text("no backup")
    with pytest.raises(ConfigError, match="no backup of a study database"):
        forget(store, [tmp_path / "torn"])


def test_rows_can_be_added_after_a_restore(store, populated, tmp_path):
    backups.backup(store, tmp_path / "out")
    restore(store, tmp_path / "out")
    restore(store, tmp_path / "out")
    assert add_person(store, "new") in uids(store)


@pytest.mark.usefixtures("patient")
def test_a_restore_is_seen_at_once_by_open_connections(store, populated, tmp_path):
    backups.backup(store, tmp_path / "out")
    care.delete_participant(store, populated[0], by="test")
    stop, looked, seen, errors = threading.Event(), threading.Event(), set(), []

    def watch():
        try:
            while not stop.is_set():
                seen.add(len(uids(store)))
                looked.set()
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            errors.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert looked.wait(LONG)
        restore(store, tmp_path / "out")
        looked.clear()
        assert looked.wait(LONG)
    finally:
        stop.set()
        watcher.join()
    assert not errors
    assert seen == {2}, "neither an empty moment nor a deleted person"


def test_a_backup_of_the_first_version_is_upgraded_and_restored(store, pg_tools_where_needed, tmp_path, request):
    source = (
        f"sqlite:///{tmp_path / 'old.sqlite3'}" if store.file else fresh_database(request.getfixturevalue("postgres"))
    )
    before = first_version(source)
    dumps.dump(parse(source), tmp_path / "out")
    assert restore(store, tmp_path / "out") is None, "there was nothing to save"
    after = all_rows(store.engine)
    assert {**after, "audit": []} == before
    assert store.run(lambda session: session.scalar(select(func.sum(Trial.n_focus_losses)))) > 0
    if store.file is None:
        assert databases(store) == 0


def test_a_newer_backup_is_refused_and_changes_nothing(store, populated, tmp_path):
    store.run(lambda session: session.execute(text("UPDATE alembic_version SET version_num = '0999'")))
    backups.backup(store, tmp_path / "out")
    put_back = text("UPDATE alembic_version SET version_num = :head")
    store.run(lambda session: session.execute(put_back, {"head": migrations.HEAD}))
    before = all_rows(store.engine)
    with pytest.raises(ConfigError, match=r"^The backup .* newer version of SPADE Studio: update the program\.$"):
        restore(store, tmp_path / "out")
    assert all_rows(store.engine) == before
    if store.file is None:
        assert databases(store) == 0


@pytest.mark.parametrize("kind", ["text", "empty", "missing", "folder", "other tables", "no tables", "torn", "dump"])
def test_what_is_no_backup_is_refused_and_changes_nothing(store, populated, tmp_path, kind):
    file = tmp_path / "out"
    if kind == "text":
        file.write_text("participant_uid,choice\n" * 100)
    elif kind == "empty":
        file.touch()
    elif kind == "folder":
        file.mkdir()
    elif kind in ("other tables", "no tables"):
        with sqlite3.connect(file) as other:
            other.execute("PRAGMA user_version=3")
            if kind == "other tables":
                other.execute("CREATE TABLE trials (id)")
        other.close()
    elif kind == "torn":
        backups.backup(store, file)
        os.truncate(file, file.stat().st_size // 2)
    elif kind == "dump":
        file.write_bytes(b"PGDMP" + bytes(1000))
    before = all_rows(store.engine)
    with pytest.raises(ConfigError) as caught:
        restore(store, file)
    assert str(caught.value).count("\n") == 0
    assert all_rows(store.engine) == before
    if store.file is None:
        assert databases(store) == 0


def test_a_sqlite_backup_may_fill_postgresql_but_not_the_other_way(postgres, pg_tools, tmp_path):
    small = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    large = Store(fresh_database(postgres), backups=tmp_path / "backups")
    add_study(small)
    people = {add_person(small, "a"), add_person(small, "b")}
    backups.backup(small, tmp_path / "small")
    restore(large, tmp_path / "small")
    assert uids(large) == people
    add_person(large, "c")
    backups.backup(large, tmp_path / "large")
    with pytest.raises(ConfigError, match="backup of PostgreSQL"):
        restore(small, tmp_path / "large")
    assert uids(small) == people
    small.close()
    large.close()


def test_failed_dumps_leave_no_file_and_show_no_password(tmp_path, pg_tools, monkeypatch):
    url = parse("postgresql://user:topsecret@127.0.0.1:1/name")
    with pytest.raises(ConfigError, match="pg_dump failed") as caught:
        dumps.dump(url, tmp_path / "out")
    assert "topsecret" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="cannot be written"):
        dumps.dump(url, tmp_path / "no" / "out")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pg_dump is missing"):
        dumps.dump(url, tmp_path / "out")


def test_the_password_reaches_the_tool_by_its_environment_alone(tmp_path, monkeypatch):
    tool = tmp_path / "pg_dump"
    tool.write_text('#!/bin/sh\necho "$PGPASSWORD $@" > "$(dirname "$0")/seen"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    dumps.dump(parse("postgresql://user:top%40secret@host/name?password=other&sslmode=require"), tmp_path / "out")
    secret, arguments = (tmp_path / "seen").read_text().split(" ", 1)
    assert secret == "top@secret"
    assert arguments.strip().endswith("postgresql://user@host/name?sslmode=require")


def test_the_command_line_backs_up_and_restores(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("SPADE_DATABASE_URL", raising=False)
    store = Store(f"sqlite:///{_made(tmp_path / 'data') / 'study.sqlite3'}")
    add_study(store)
    uid = add_person(store)
    assert main(["study", "backup", "--out", str(tmp_path / "out")]) == 0
    assert main(["study", "delete-participant", uid]) == 0
    capsys.readouterr()
    assert main(["study", "restore", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["saved"].endswith(".backup")
    assert uids(store) == set()
    assert main(["study", "backup", "--forget", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {str(tmp_path / "out"): 1}
    assert main(["study", "restore", str(tmp_path / "nothing")]) != 0
    assert "cannot be read" in capsys.readouterr().err
    store.close()


def _made(folder):
    folder.mkdir()
    return folder


def test_the_copies_made_for_a_restore_are_gone_afterwards(store, populated, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(_made(tmp_path / "temporary")))
    backups.backup(store, tmp_path / "out")
    restore(store, tmp_path / "out")
    assert not list((tmp_path / "temporary").iterdir())
    engine = create_engine(store.engine.url)
    assert "tombstones" in inspect(engine).get_table_names()
    engine.dispose()
