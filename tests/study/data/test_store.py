"""The store's transactions, its errors, and deletion that leaves nothing, on both engines."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import threading

import pytest
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.study.data import deletion as care
from spade_core.study.data import store as store_module
from spade_core.study.data.address import parse, shown
from spade_core.study.data.store import Store, open_store
from spade_core.study.data.tables import Audit, Base, Event, Participant, Study, Tombstone, Trial
from tests.study.people import STUDY, add_person, add_study, participant_values, trial_values


def count(store, table):
    return store.run(lambda session: session.scalar(select(func.count()).select_from(table)))


def in_threads(number, work):
    """Run work in threads at once; raise what one of them raised."""
    errors = []

    def guarded(index):
        try:
            work(index)
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_the_pragmas_are_set_on_every_connection(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    with store.engine.connect() as first, store.engine.connect() as second:
        first.connection.cursor()
        for connection in (first, second):
            cursor = connection.connection.cursor()
            found = {
                name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout", "secure_delete")
            }
            assert found == {
                "journal_mode": "wal",
                "foreign_keys": 1,
                "synchronous": 2,
                "busy_timeout": 5000,
                "secure_delete": 1,
            }
    store.close()


def test_only_the_owner_may_read_the_file_and_its_log(tmp_path):
    store = open_store(Settings(data_dir=tmp_path / "data", database_url=""))
    add_study(store)
    files = list((tmp_path / "data").glob("study.sqlite3*"))
    assert len(files) == 3, "file, log and the log's index"
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    store.close()


def test_postgresql_is_serializable(postgres):
    from tests.study.conftest import fresh_database

    store = Store(fresh_database(postgres))
    assert store.run(lambda session: session.scalar(text("SHOW transaction_isolation"))) == "serializable"
    store.close()


def test_a_reader_sees_one_state_keeps_no_writer_waiting_and_cannot_write(store):
    add_study(store)
    query = select(Study.name)

    def rename(name):
        store.run(lambda session: session.execute(update(Study).values(name=name)))

    def work(session):
        first = session.scalar(query)
        rename("changed")
        return first, session.scalar(query)

    assert store.read(work) == ("n", "n")
    assert store.read(lambda session: session.scalar(query)) == "changed"
    with pytest.raises(DBAPIError, match=r"readonly|read-only"):
        store.read(lambda session: session.execute(update(Study).values(name="by a reader")))
    rename("again")  # the reader's connection writes once more
    assert store.read(lambda session: session.scalar(query)) == "again"


@pytest.mark.usefixtures("patient")
def test_read_then_write_loses_no_increment_and_starts_one_transaction_a_run(store):
    add_study(store)
    uid = add_person(store)

    def increment(session):
        row = session.get(Participant, uid)
        row.comprehension_tries += 1

    def many(_index):
        for _ in range(6):
            store.run(increment)

    in_threads(20, many)
    assert store.run(lambda session: session.get(Participant, uid)).comprehension_tries == 120


def test_a_read_already_keeps_other_writers_out(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")

    def read(session):
        session.scalar(select(Study.id))
        other = sqlite3.connect(store.file, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()

    store.run(read)
    store.close()


def test_writers_of_a_process_take_turns_and_readers_do_not_wait(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    add_study(store)
    begun = []
    event.listen(store.engine, "begin", lambda _connection: begun.append(threading.get_ident()))
    others = [threading.Thread(target=store.run, args=(lambda session: session.get(Study, STUDY),)) for _ in range(3)]

    def first(session):
        session.get(Study, STUDY)
        for other in others:
            other.start()
        others[0].join(0.1)
        assert len(begun) == 1, "nobody asks the file again and again"
        return store.read(lambda session: session.get(Study, STUDY).key)

    assert store.run(first) == "key"
    for other in others:
        other.join()
    assert len(begun) == 1 + 1 + 3
    store.close()


def test_without_begin_immediate_the_same_increments_are_lost(tmp_path):
    """The check above would notice a store whose reads open no transaction."""
    file = tmp_path / "plain.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.execute("INSERT INTO t VALUES (0)")
    first, second = sqlite3.connect(file, isolation_level=None), sqlite3.connect(file, isolation_level=None)
    seen = [connection.execute("SELECT n FROM t").fetchone()[0] for connection in (first, second)]
    for connection, value in zip((first, second), seen, strict=True):
        connection.execute("UPDATE t SET n = ?", (value + 1,))
    assert first.execute("SELECT n FROM t").fetchone() == (1,)
    first.close()
    second.close()


def test_a_failed_transaction_leaves_nothing_and_foreign_keys_hold(store):
    add_study(store)

    def fails(session):
        session.add(Participant(**participant_values("u1")))
        session.flush()
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        store.run(fails)
    assert count(store, Participant) == 0
    runs = []

    def orphan(session):
        runs.append(1)
        session.add(Event(participant_uid="nobody", at=1.0, kind="x"))

    with pytest.raises(Exception, match=r"(?i)foreign key"):
        store.run(orphan)
    assert len(runs) == store_module.KEY_TRIES, "a fault of our own is not tried for long"


def test_a_busy_database_is_one_sentence(tmp_path, monkeypatch):
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    monkeypatch.setattr(store_module, "TRIES", 2)
    with sqlite3.connect(store.file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with store.engine.connect() as connection:  # the pool's connections shall not wait in this test
            connection.connection.cursor().execute("PRAGMA busy_timeout=10")
        with pytest.raises(ConfigError, match="stayed busy"):
            store.run(lambda session: session.scalar(select(Study.id)))
        other.execute("ROLLBACK")
    other.close()
    store.close()


def test_the_count_of_focus_losses_follows_the_details(store):
    add_study(store)
    uid = add_person(store, trials=3)
    query = select(Trial.n_focus_losses).order_by(Trial.index)
    assert store.run(lambda session: list(session.scalars(query))) == [0, 1, 2]

    def change(session):
        session.scalar(select(Trial).where(Trial.index == 0)).details = {"focus_losses": [1, 2, 3, 4]}
        session.add(Trial(**trial_values(uid, 9)))

    store.run(change)
    assert store.run(lambda session: list(session.scalars(query))) == [4, 1, 2, 0]


BAD = [
    ("nonsense", "is not an address"),
    ("postgresql://user:topsecret/name", "is not an address"),
    ("postgresql://user:x@host:topsecret/name", "is not an address"),
    ("mysql://user:topsecret@host/name", "only sqlite"),
    ("postgresql+asyncpg://user:topsecret@host/name", "only sqlite"),
    ("sqlite://", "must name a file"),
    ("sqlite:///file:x?mode=memory&uri=true", "must name a file"),
    ("sqlite:////no/such/folder/x.sqlite3", "unable to open"),
    ("postgresql://user:topsecret@127.0.0.1:1/name?connect_timeout=2", "cannot be opened"),
    ("postgresql://user@127.0.0.1:1/name?password=topsecret&connect_timeout=2", "cannot be opened"),
]


@pytest.mark.parametrize(("url", "sentence"), BAD)
def test_a_bad_address_is_one_sentence_without_its_password(url, sentence, caplog):
    caplog.set_level("DEBUG")
    with pytest.raises(ConfigError, match=sentence) as caught:
        Store(url)
    assert "\n" not in str(caught.value)
    assert "topsecret" not in str(caught.value) + caplog.text


def test_a_file_that_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "x").write_bytes(b"something else, and long enough to be looked at" * 40)
    with pytest.raises(ConfigError, match="not a database"):
        Store(f"sqlite:///{tmp_path / 'x'}")


def test_addresses_are_shown_without_passwords_and_mean_psycopg():
    url = parse("postgres://user:topsecret@host/name?sslpassword=topsecret&application_name=x")
    assert url.drivername == "postgresql+psycopg"
    assert shown(url) == "postgresql+psycopg://user:***@host/name?application_name=x"


def test_deletion_removes_every_row_and_leaves_a_tombstone_without_a_name(store):
    add_study(store)
    gone, kept = add_person(store, "gone"), add_person(store, "kept")
    before = {table.name: count(store, table) for table in Base.metadata.sorted_tables}
    care.delete_participant(store, gone, by="test")
    after = {table.name: count(store, table) for table in Base.metadata.sorted_tables}
    assert after == {
        **before,
        "participants": 1,
        "external_ids": 1,
        "trials": 5,
        "events": 1,
        "page_times": 1,
        "tombstones": 1,
        "audit": before["audit"] + 1,
    }
    stone = store.run(lambda session: session.scalar(select(Tombstone)))
    assert (stone.uid_sha256, stone.study_id, stone.at) == (care.tombstone_of(gone), STUDY, store.clock())
    notes = store.run(lambda session: json.dumps([row.details for row in session.scalars(select(Audit))]))
    assert gone not in notes
    assert kept in notes
    with pytest.raises(ConfigError, match="no participant"):
        care.delete_participant(store, gone, by="test")
    with pytest.raises(ConfigError, match="no participant"):
        care.delete_participant(store, kept, by="test", key="another study's")
    care.delete_participant(store, kept, by="test", key="key")
    assert count(store, Participant) == 0


def test_deleted_text_is_in_no_byte_of_file_and_log_while_others_have_it_open(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    other = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    add_study(store)
    people = {f"mark{number:02d}x": add_person(store, f"mark{number:02d}x", trials=20) for number in range(12)}
    idle = other.engine.connect()  # another thread's connection, open and between two transactions
    idle.execute(text("SELECT 1"))
    idle.rollback()
    assert all(mark.encode() in _bytes(store) for mark in people)
    for mark in list(people)[::2]:
        care.delete_participant(store, people[mark], by="test")
    found = _bytes(store)
    for number, (mark, uid) in enumerate(people.items()):
        present = number % 2 == 1
        assert (mark.encode() in found, uid.encode() in found) == (present, present)
    assert store.file.with_name("study.sqlite3-wal").stat().st_size == 0
    assert idle.execute(text("SELECT count(*) FROM participants")).scalar() == 6
    idle.close()
    other.close()
    store.close()


def test_rows_that_moved_between_pages_leave_no_copy_either(tmp_path):
    """As rows grow, pages split, and copies stay behind that ``secure_delete`` does not see; these seeds leave some."""
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    add_study(store)
    rng = random.Random(0)
    uids = [_hexadecimal(rng) for _ in range(60)]

    def add(session, uid):
        session.add(Participant(**participant_values(uid, resume_sha256=2 * _hexadecimal(rng))))
        session.flush()
        session.execute(insert(Trial), [trial_values(uid, index, id=_hexadecimal(rng)) for index in range(20)])

    def grow(session, uid):
        for trial in session.scalars(select(Trial).where(Trial.participant_uid == uid).order_by(Trial.index)):
            trial.details = {"input": "x" * rng.randrange(1, 300)}

    for change in (add, grow):
        for uid in uids:
            store.run(lambda session, uid=uid, change=change: change(session, uid))
    for uid in uids[::2]:
        care.delete_participant(store, uid, by="test")
    found = _bytes(store)
    assert [uid.encode() in found for uid in uids] == [False, True] * 30
    store.close()


def _hexadecimal(rng):
    return f"{rng.getrandbits(128):032x}"


def _bytes(store):
    return b"".join(path.read_bytes() for path in sorted(store.file.parent.glob("study.sqlite3*")))


@pytest.mark.usefixtures("patient")
def test_people_are_deleted_while_others_write(store):
    add_study(store)
    gone = [add_person(store, f"g{number}") for number in range(4)]
    stayed = add_person(store, "stayed")

    def work(index):
        if index < len(gone):
            care.delete_participant(store, gone[index], by="test")
            return
        for _ in range(5):
            store.run(lambda session: session.add(Event(participant_uid=stayed, at=1.0, kind="noise")))

    in_threads(8, work)
    assert count(store, Participant) == 1
    assert count(store, Tombstone) == 4
    query = select(func.count()).where(Event.kind == "noise")
    assert store.run(lambda session: session.scalar(query)) == 20


def test_a_withdrawal_token_deletes_its_own_participant_and_names_nobody(store):
    add_study(store)
    gone, kept = add_person(store, "gone"), add_person(store, "kept")
    token = care.issue_withdrawal(store, gone)
    assert len(bytes.fromhex(token)) == 16
    stored = store.run(lambda session: session.get(Participant, gone)).withdrawal_sha256
    assert token not in stored
    with pytest.raises(ConfigError, match="shown before"):
        care.issue_withdrawal(store, gone)
    assert not care.withdraw(store, "0" * 32)
    assert not care.withdraw(store, "")
    assert care.withdraw(store, f" {token[:16].upper()}-{token[16:]} ")
    assert not care.withdraw(store, token)
    assert store.run(lambda session: list(session.scalars(select(Participant.uid)))) == [kept]
    entry = store.run(lambda session: session.scalar(select(Audit).order_by(Audit.id.desc()).limit(1)))
    assert (entry.action, entry.details) == ("withdrawal", None)


def test_a_replaced_withdrawal_token_is_void(store):
    add_study(store)
    uid = add_person(store)
    first, second = care.issue_withdrawal(store, uid), care.issue_withdrawal(store, uid, replace=True)
    assert not care.withdraw(store, first)
    assert care.withdraw(store, second)
    with pytest.raises(ConfigError, match="deleted"):
        care.issue_withdrawal(store, uid)


def test_an_empty_file_is_no_database_and_says_what_to_do(tmp_path):
    file = tmp_path / "study.sqlite3"
    file.touch()
    with pytest.raises(ConfigError, match=r"is an empty file.*restore a backup, or delete the file"):
        Store(f"sqlite:///{file}")
    assert file.stat().st_size == 0, "it is left as it was found"
    file.unlink()
    Store(f"sqlite:///{file}").close()
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(found.name for found in tmp_path.iterdir() if found.suffix == ".new") == []


def test_processes_that_make_one_database_find_it_whole(tmp_path, monkeypatch):
    """Whoever looks while another one makes the file sees none, or one that is not empty."""
    file, seen = tmp_path / "study.sqlite3", []
    link = os.link

    def watched(made, target):
        seen.append((file.exists(), made.stat().st_size))
        if len(seen) == 1:
            store_module._create(file)  # another one is faster
        link(made, target)

    monkeypatch.setattr(os, "link", watched)
    store_module._create(file)
    assert [exists for exists, _ in seen] == [False, False]
    assert all(size > 0 for _, size in seen)
    assert [found.name for found in tmp_path.iterdir()] == ["study.sqlite3"]
