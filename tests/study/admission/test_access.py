"""Who may open the experimenter's page."""

from __future__ import annotations

import ast
import logging
import threading
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.study.admission.access import (
    Attempts,
    Evidence,
    check_password,
    client_of,
    decide,
    end_login,
    fingerprint,
    is_local,
    is_loopback,
    refusal,
)

ROOT = Path(__file__).resolve().parent.parent.parent.parent
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")
HOST = ("Host", "127.0.0.1:8501")
LOCAL = Evidence("127.0.0.1", "127.0.0.1", (HOST,))
EMAIL = {"is_logged_in": True, "email": "a@example.org", "email_verified": True}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "localhost", "LocalHost", "::1", "[::1]"])
def test_loopback_addresses(address):
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "0.0.0.0",
        "::",
        "192.168.0.1",
        "10.0.0.1",
        "127.0.0.1.evil.org",
        "localhost.evil.org",
        "2130706433",
        "127",
    ],
)
def test_other_addresses(address):
    assert not is_loopback(address)


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "127.0.0.1", "LOCALHOST:8501", "[::1]:8501", "[::1]"])
def test_local_hosts_are_open(host):
    assert is_local(Evidence("127.0.0.1", "127.0.0.1", (("host", host),)))
    assert is_local(Evidence("127.0.0.1", "127.0.0.1", (("host", host), ("Origin", f"http://{host}"))))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "study.example.org",
        "192.168.0.1:8501",
        "127.0.0.1.evil.org",
        "evil.org:127",
        "user@127.0.0.1",
        "127.0.0.1 evil",
        "127.0.0.1:port",
        "127.0.0.1:8501:1",
        "localhost.",
        "localhost\nx",
    ],
)
def test_other_hosts_are_not(host):
    assert not is_local(Evidence("127.0.0.1", "127.0.0.1", (("Host", host),)))


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "192.168.0.1"])
def test_a_server_that_listens_elsewhere_is_not_local(address):
    assert not is_local(Evidence(address, "127.0.0.1", (HOST,)))


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X-Forwarded-For",
        "x-forwarded-host",
        "X-FORWARDED-PROTO",
        "X_Forwarded_For",
        "X-Forwarded",
        "Via",
        "X-Real-IP",
    ],
)
@pytest.mark.parametrize("value", ["127.0.0.1", ""])
def test_what_a_proxy_passed_on_is_not_local(name, value):
    assert not is_local(Evidence("127.0.0.1", "127.0.0.1", (HOST, (name, value))))


def test_no_header_or_a_second_host_or_another_origin_is_not_local():
    assert not is_local(Evidence("127.0.0.1", "127.0.0.1", ()))
    assert not is_local(Evidence("127.0.0.1", "127.0.0.1", (HOST, ("Host", "evil.org"))))
    for origin in ("https://study.example.org", "null", "", "http://[::1"):
        assert not is_local(Evidence("127.0.0.1", "127.0.0.1", (HOST, ("Origin", origin))))


def test_the_ways_in():
    closed = Evidence("0.0.0.0", "127.0.0.1", (HOST,))
    assert decide(Settings(), LOCAL) == "local"
    assert decide(Settings(), closed) == "closed"
    secured = Settings(admin_password_hash=HASH, admin_emails=("a@example.org",))
    assert decide(secured, closed) == "closed"
    assert decide(secured, Evidence("0.0.0.0", "127.0.0.1", (HOST,), fingerprint(HASH))) == "password"
    assert decide(secured, Evidence("0.0.0.0", "127.0.0.1", (HOST,), HASH)) == "closed"
    assert decide(Settings(), Evidence("0.0.0.0", "127.0.0.1", (HOST,), fingerprint(""))) == "closed"
    assert decide(secured, Evidence("0.0.0.0", "127.0.0.1", (HOST,), claims=EMAIL)) == "oidc"


FORGED = [("Host", value) for value in ("localhost", "127.0.0.1:80", "[::1]", "127.0.0.1:8501")]


@pytest.mark.parametrize("host", FORGED)
@pytest.mark.parametrize(
    "settings",
    [
        Settings(admin_password_hash=HASH),
        Settings(admin_emails=("a@example.org",)),
        Settings(admin_password_hash="no argon2 hash"),
        Settings(admin_password_hash=HASH, admin_emails=("a@example.org",)),
    ],
)
def test_where_a_password_or_addresses_are_set_nobody_is_local(settings, host):
    """A forwarder on the server's machine that adds no header makes a stranger look like this."""
    assert decide(settings, Evidence("127.0.0.1", "127.0.0.1", (host, ("Origin", "http://localhost")))) == "closed"


@pytest.mark.parametrize("peer", [None, "", "192.168.0.7", "203.0.113.9", "0.0.0.0", "fe80::1"])
def test_a_connection_from_elsewhere_is_not_local_whatever_its_headers_say(peer):
    for host in FORGED:
        assert decide(Settings(), Evidence("127.0.0.1", peer, (host,))) == "closed"


def test_another_password_ends_a_login():
    assert decide(Settings(admin_password_hash=HASH + "x"), Evidence(None, None, (), fingerprint(HASH))) == "closed"


@pytest.mark.parametrize(
    "change",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "false"},
        {"email_verified": 1},
        {"email": "A@example.org"},
        {"email": "a@example.org.evil"},
        {"email": None},
        {"email": ""},
    ],
)
def test_an_address_counts_exactly_and_verified_only(change):
    here = Settings(admin_emails=("a@example.org",))
    assert decide(here, Evidence(None, None, (), claims={**EMAIL, **change})) == "closed"
    assert decide(Settings(), Evidence(None, None, (), claims=EMAIL)) == "closed"


def test_a_provider_that_says_nothing_of_verification_opens_to_nobody():
    claims = {name: value for name, value in EMAIL.items() if name != "email_verified"}
    assert decide(Settings(admin_emails=("a@example.org",)), Evidence(None, None, (), claims=claims)) == "closed"
    assert decide(Settings(admin_emails=("a@example.org",)), Evidence(None, None, (), claims={})) == "closed"


def test_each_of_several_admins_gets_in_and_nobody_between_them():
    here = Settings.from_environment({"SPADE_ADMIN_EMAILS": "a@example.org, Bea@Example.org"})

    def way(email):
        return decide(here, Evidence(None, None, (), claims={**EMAIL, "email": email}))

    assert [way(email) for email in here.admin_emails] == ["oidc", "oidc"]
    for email in ("bea@example.org", "a@example.org,Bea@Example.org", "example.org", " a@example.org", "c@example.org"):
        assert way(email) == "closed", email
    assert decide(Settings(), Evidence(None, None, (), claims={**EMAIL, "email": ""})) == "closed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"email_verified": False}, "has not confirmed that a@example.org is yours"),
        ({"email": None}, "no e-mail address"),
        ({"email": "A@example.org"}, "A@example.org is not one of the addresses"),
    ],
)
def test_a_refused_login_is_told_why_in_one_sentence(change, reason):
    said = refusal({**EMAIL, **change}, ("a@example.org",))
    assert reason in said
    assert said.count(".") - said.count(".org") == 1


def test_a_login_that_was_ended_opens_nothing_more_and_the_next_one_does():
    here, first, second = Settings(admin_emails=("a@example.org",)), {**EMAIL, "iat": 1}, {**EMAIL, "iat": 2}
    assert decide(here, Evidence(None, None, (), claims=first)) == "oidc"
    end_login(first)
    assert decide(here, Evidence(None, None, (), claims=first)) == "closed"
    assert "This login has ended" in refusal(first, here.admin_emails)
    assert decide(here, Evidence(None, None, (), claims=second)) == "oidc"


def test_a_taken_back_address_closes_and_a_login_does_not_make_a_proxied_page_local():
    forwarded = (HOST, ("X-Forwarded-For", "127.0.0.1"))
    assert (
        decide(Settings(admin_emails=("b@example.org",)), Evidence("127.0.0.1", "127.0.0.1", forwarded, claims=EMAIL))
        == "closed"
    )
    assert (
        decide(Settings(admin_emails=("a@example.org",)), Evidence("127.0.0.1", "127.0.0.1", forwarded, claims=EMAIL))
        == "oidc"
    )
    assert decide(Settings(), Evidence("127.0.0.1", "127.0.0.1", forwarded)) == "closed"


PAGES = [ROOT / "pages" / "study.py", *sorted((ROOT / "spade_core" / "ui" / "study").glob("*.py"))]


def test_every_action_of_the_page_looks_at_the_door_again():
    """What a click calls is wrapped by ``guarded``, or is nothing; what acts in the page's body asks there."""
    found = [
        (file.name, ast.unparse(node.value))
        for file in PAGES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg in ("on_click", "on_change", "on_submit")
    ]
    assert len(found) >= 15
    assert [
        entry for entry in found if not (entry[1].startswith("guarded(") or entry[1] in ("'ignore'", "'rerun'"))
    ] == []


def test_a_guarded_action_does_nothing_behind_a_closed_door(monkeypatch):
    from spade_core.ui.study import access as study_access

    done, said = [], []
    monkeypatch.setattr(study_access, "notify", lambda text, kind="success": said.append((kind, text)))
    monkeypatch.setattr(study_access, "settings", Settings)
    headers = [HOST]
    monkeypatch.setattr(study_access, "evidence", lambda: Evidence("127.0.0.1", "127.0.0.1", tuple(headers)))
    action = study_access.guarded(done.append)
    action("open")
    headers.append(("Forwarded", "for=192.0.2.1"))
    action("closed")
    assert done == ["open"]
    assert said == [("error", "You are not logged in any more: reload the page.")]


def test_the_right_password_alone_opens():
    attempts = Attempts()
    assert check_password(HASH, "right", attempts) == fingerprint(HASH)
    for wrong in ("Right", "right ", "", "x" * 2000):
        with pytest.raises(ConfigError, match="not the password"):
            check_password(HASH, wrong, attempts)


def test_a_setting_that_is_no_hash_is_said_without_showing_it():
    with pytest.raises(ConfigError, match="no argon2 hash") as caught:
        check_password("my secret", "my secret", Attempts())
    assert "my secret" not in str(caught.value)


def test_attempts_are_few_and_come_back():
    now = [100.0]
    attempts = Attempts(5, 60, clock=lambda: now[0])
    for _ in range(5):
        with pytest.raises(ConfigError, match="not the password"):
            check_password(HASH, "wrong", attempts)
        now[0] += 1
    with pytest.raises(ConfigError, match="wait 55 seconds"):
        check_password(HASH, "right", attempts)
    now[0] += 55
    assert check_password(HASH, "right", attempts)


def test_threads_share_the_attempts():
    attempts, taken = Attempts(5, 60, clock=lambda: 0.0), []
    start = threading.Barrier(40)

    def one():
        start.wait()
        taken.append(attempts.take())

    threads = [threading.Thread(target=one) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(0.0) == 5
    assert len(taken) == 40


def test_the_settings_are_read_and_keep_their_secret(caplog):
    found = Settings.from_environment({"SPADE_ADMIN_PASSWORD_HASH": HASH, "SPADE_ADMIN_EMAILS": " a@b.org, c@d.org,"})
    assert found.admin_emails == ("a@b.org", "c@d.org")
    assert found.admin_password_hash == HASH
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").info("%r", found)
    assert HASH not in caplog.text
    with pytest.raises(ConfigError, match="SPADE_ADMIN_EMAILS"):
        Settings.from_environment({"SPADE_ADMIN_EMAILS": "nobody"})


def test_one_client_shuts_nobody_else_out_and_many_are_slowed_together():
    now = [0.0]
    attempts = Attempts(3, 60, in_all=10, clock=lambda: now[0])
    assert [attempts.take("a") for _ in range(4)] == [0, 0, 0, 60]
    assert attempts.take("b") == 0
    assert [attempts.take(f"new {number}") for number in range(6)] == [0] * 6
    assert attempts.take("newer") == 60  # ten in all
    now[0] = 60.0
    assert attempts.take("a") == attempts.take("newer") == 0
    assert set(attempts._times) == {None, "a", "newer"}, "the others are forgotten"


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("192.0.2.1", (), "192.0.2.1 "),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64 "),
        ("127.0.0.1", (("X-Forwarded-For", "6.6.6.6, 192.0.2.7"),), "127.0.0.1 192.0.2.7"),
        ("127.0.0.1", (("x-forwarded-for", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.8")), "127.0.0.1 192.0.2.8"),
        ("127.0.0.1", (("X-Forwarded-For", "x" * 9000),), "127.0.0.1 "),
        (None, (), " "),
    ],
)
def test_a_client_is_an_address_that_it_does_not_write_itself(peer, headers, client):
    assert client_of(Evidence("0.0.0.0", peer, headers)) == client
