"""Who may open the experimenter's page.

The installation's password (``SPADE_ADMIN_PASSWORD_HASH``, argon2) or a verified address of an OIDC login
(``SPADE_ADMIN_EMAILS``) opens it. Where either is set nobody comes in without, from no machine: a client writes its own
``Host``, and a forwarder on the server's machine that adds no header makes every stranger look local. Where neither is
set, the page is open without a login only where nobody else can reach it: the server listens on a loopback address, the
connection comes from one, the request names a loopback host and origin, and no proxy has passed it on.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from spade_core.config import Settings
from spade_core.errors import ConfigError

Way = Literal["local", "password", "oidc", "closed"]

ATTEMPTS, ATTEMPTS_IN_ALL, WINDOW = 5, 60, 60.0  # at the password of one client, and of all, in so many seconds
LONGEST = 1024  # characters of a password
CLOSED = (
    "This page is closed here: open it on the server's own machine, or set SPADE_ADMIN_PASSWORD_HASH, or "
    "SPADE_ADMIN_EMAILS together with Streamlit's OIDC login."
)
MAKE_HASH = 'python -c "import argon2, getpass; print(argon2.PasswordHasher().hash(getpass.getpass()))"'
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\s]+)(:\d{1,5})?")
_PROXIES = ("forwarded", "via", "x-real-ip")


@dataclass(frozen=True)
class Evidence:
    """What a page knows of who asks.

    Attributes:
        address: that the server listens on; None or empty: all.
        peer: the address at the other end of the connection; None: unknown.
        headers: of the request, repeated ones each.
        login: the :func:`fingerprint` under which this session gave the right password, or empty.
        claims: of the OIDC login; None: nobody is logged in that way.
    """

    address: str | None
    peer: str | None
    headers: tuple[tuple[str, str], ...]
    login: str = ""
    claims: Mapping[str, object] | None = None


def decide(settings: Settings, evidence: Evidence) -> Way:
    """Return how the page is open to who asks, or ``closed``."""
    stored = settings.admin_password_hash
    secured = bool(stored or settings.admin_emails)
    if not secured and is_local(evidence):
        return "local"
    if stored and evidence.login and hmac.compare_digest(evidence.login, fingerprint(stored)):
        return "password"
    claims = evidence.claims or {}
    # Exactly as written in the settings, and verified by the provider: an unverified address is anybody's.
    verified = claims.get("email_verified") is True and claims.get("email") in settings.admin_emails
    return "oidc" if verified and _login_of(claims) not in _ENDED else "closed"


def is_local(evidence: Evidence) -> bool:
    """Return whether only the server's own machine can have asked; in doubt it was not."""
    named = [(name.lower().replace("_", "-"), value) for name, value in evidence.headers]
    hosts = [_HOST.fullmatch(value.strip()) for name, value in named if name == "host"]
    origins = [value for name, value in named if name == "origin"]
    return (
        is_loopback(evidence.address)
        and is_loopback(evidence.peer)
        and bool(hosts)
        and all(host is not None and is_loopback(host.group(1)) for host in hosts)
        # A proxy that rewrites Host and adds nothing still passes on which site the browser was at.
        and all(_origin_is_loopback(value) for value in origins)
        and not any(name in _PROXIES or name.startswith("x-forwarded") for name, _ in named)
    )


def is_loopback(address: str | None) -> bool:
    """Return whether an address without a port is ``localhost`` or a loopback address."""
    text = (address or "").strip().lower()
    if text == "localhost":
        return True
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _origin_is_loopback(value: str) -> bool:
    try:
        return is_loopback(urlsplit(value.strip()).hostname)
    except ValueError:
        return False


def refusal(claims: Mapping[str, object], emails: tuple[str, ...]) -> str:
    """Return why an OIDC login does not open the page, as one sentence."""
    email = claims.get("email")
    if not email:
        return "Your login provider gives this page no e-mail address, so it cannot open: ask for the scope “email”."
    if email not in emails:
        return f"{email} is not one of the addresses that may open this page; they are compared letter by letter."
    if claims.get("email_verified") is not True:
        return f"Your login provider has not confirmed that {email} is yours (“email_verified”): the page is closed."
    return "This login has ended: log out and in again."


_ENDED: set[str] = set()  # OIDC logins that were logged out of since the server started


def end_login(claims: Mapping[str, object]) -> None:
    """Let an OIDC login open nothing any more.

    Streamlit deletes the browser's cookie, but tabs that are open read it no more, and a copy of it stays valid.
    """
    _ENDED.add(_login_of(claims))


def _login_of(claims: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(dict(claims), sort_keys=True, default=str).encode()).hexdigest()


class Attempts:
    """How often something may be tried, a password above all: by one client, and more slowly by all together.

    A client is known by its address, which somebody with many addresses, or many names behind a forwarder, can change;
    the limit for all is what holds them up. One client alone does not shut the others out.

    Args:
        count, in_all, window: so many attempts of one client, and of all (None: any number), in so many seconds.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        count: int = ATTEMPTS,
        window: float = WINDOW,
        *,
        in_all: int | None = ATTEMPTS_IN_ALL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count, self.window, self.in_all, self.clock = count, window, in_all, clock
        self._times: dict[str | None, deque[float]] = {}  # of a client's last attempts; None: of all
        self._lock = threading.Lock()

    def take(self, client: str = "") -> float:
        """Take an attempt and return 0, or return how many seconds to wait for one."""
        with self._lock:
            now = self.clock()
            self._forget(now)
            own = self._times.setdefault(client, deque(maxlen=self.count))
            everybody = self._times.setdefault(None, deque(maxlen=self.in_all or 0))
            wait = max(self._wait(own, now), self._wait(everybody, now))
            if wait == 0:
                own.append(now)
                everybody.append(now)
            return wait

    def _wait(self, times: deque[float], now: float) -> float:
        full = bool(times) and len(times) == times.maxlen and times[0] > now - self.window
        return times[0] + self.window - now if full else 0.0

    def _forget(self, now: float) -> None:
        """Forget whoever has not tried within the window, so that no more are remembered than tried in it."""
        for client in [client for client, times in self._times.items() if not times or times[-1] <= now - self.window]:
            del self._times[client]


_SERVER = Attempts()


def client_of(evidence: Evidence) -> str:
    """Return what attempts are counted by: the network at the other end, and whom the nearest proxy says it stands for.

    An IPv6 address counts as its network of 64 bits, which is what one household or host is given.
    """
    passed = [value for name, value in evidence.headers if name.lower() == "x-forwarded-for"]
    nearest = passed[-1].rpartition(",")[2].strip() if passed else ""
    return " ".join(_network(address) for address in (evidence.peer or "", nearest))


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""  # whatever it is, it is not an address that a proxy wrote
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def check_password(stored: str, given: str, attempts: Attempts = _SERVER, *, client: str = "") -> str:
    """Return the :func:`fingerprint` that a session keeps as its login.

    Args:
        stored: the argon2 hash of the settings; given: the password; attempts: taken before the password is looked at.
        client: who tries, see :func:`client_of`.

    Raises:
        ConfigError: a wrong password, too many attempts, or a setting that is no argon2 hash.
    """
    if not given or len(given) > LONGEST:
        raise ConfigError("This is not the password: try again.")
    wait = attempts.take(client)
    if wait > 0:
        raise ConfigError(f"Too many attempts: wait {math.ceil(wait)} seconds and try again.")
    try:
        PasswordHasher().verify(stored, given)
    except VerifyMismatchError:
        raise ConfigError("This is not the password: try again.") from None
    except (InvalidHashError, VerificationError):
        raise ConfigError(
            "SPADE_ADMIN_PASSWORD_HASH is no argon2 hash, so nobody can log in: make one as the documentation shows."
        ) from None
    return fingerprint(stored)


def fingerprint(stored: str) -> str:
    """Return what a login is kept as: another password in the settings ends it."""
    return hashlib.sha256(b"study login\0" + stored.encode()).hexdigest()
