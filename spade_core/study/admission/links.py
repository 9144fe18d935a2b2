"""Links into a study: plain, for Prolific, and personal ones and previews, which nobody can make up.

A personal link carries a label (a code for one person, never a name), when it expires, the id of the secret, and an
HMAC-SHA256 over study, label and expiry. A preview carries the same without a label, for an hour: it opens in a session
of its own, which knows nothing of the experimenter's login. The secrets lie in a file of the data folder, one a line,
the last one signs; deleting a line ends all links that it signed.

``itsdangerous`` has no ids of keys and an age in place of an expiry, and writes another format, so that the verifier of
the links in the field would have to stay beside it. One format over the standard library's ``hmac`` is less code than
two, of which the older would decide how safe both are.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.study.vocabulary import WaysIn

logger = logging.getLogger(__name__)

SIGNED = ("label", "expires", "kid", "sig")  # query parameters of a personal link
PREVIEW = "preview"  # query parameter of a preview
PREVIEW_SECONDS = 3600
PERSONAL = "personal:"  # before the label in an external id, so that no typed id can be one
LINK, PREVIEW_LINK = "spade study link 1", "spade study preview 1"  # kinds, so that neither passes as the other
ID = "spade study id 1"
FILE = "link_secrets"
ID_FILE = "id_secrets"  # of the hashes of ids, apart: links may be ended by deleting their secrets, these stay
SECRET_BYTES = 32
_LABEL = re.compile(r"[A-Za-z0-9._-]{1,60}")
_NUMBER = re.compile(r"[0-9]{1,12}")
ID_PARAMETER = "PROLIFIC_PID"  # carries the id of a recruiting service
_PROLIFIC = (ID_PARAMETER, "STUDY_ID", "SESSION_ID")


def base_of(address: str) -> str:
    """Return the address of the server without a slash at its end.

    Raises:
        ConfigError: it is no http or https address.
    """
    text = address.strip().rstrip("/")
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError("The address of the server must look like “https://study.example.org”.")
    return text


def plain(base: str, key: str) -> str:
    """Return the link that anybody may open."""
    return f"{base_of(base)}/survey?study={quote(key, safe='')}"


def prolific(base: str, key: str) -> str:
    """Return the study link for Prolific, which fills in its placeholders for each participant."""
    return plain(base, key) + "".join(f"&{name}={{{{%{name}%}}}}" for name in _PROLIFIC)


def is_preview(query: Mapping[str, str]) -> bool:
    """Return whether a link claims to be a preview; then :meth:`Signer.check_preview` must accept it."""
    return PREVIEW in query


def is_signed(query: Mapping[str, str]) -> bool:
    """Return whether a link claims to be a personal one; then :meth:`Signer.verify` must accept it."""
    return any(name in query for name in SIGNED)


def signer(settings: Settings) -> Signer:
    """Return the installation's signer."""
    return Signer(settings.data_dir / FILE)


def id_signer(settings: Settings) -> Signer:
    """Return what makes the installation's fingerprints of ids."""
    return Signer(settings.data_dir / ID_FILE)


class Signer:
    """Makes and checks personal links, and fingerprints of ids.

    Args:
        path: of the secrets; created with a first one when needed, readable by its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def personal(self, base: str, key: str, label: str, expires: float) -> str:
        """Return the link of one person.

        Args:
            label: 1 to 60 letters, digits, dots, dashes or underscores; expires: UTC seconds since 1970.

        Raises:
            ConfigError: an unusable label or address, or secrets that cannot be used.
        """
        if not _LABEL.fullmatch(label):
            raise ConfigError(
                f"The label “{label[:60]}” must have 1 to 60 letters, digits, dots, dashes or underscores: "
                "take a code, not a name."
            )
        return f"{plain(base, key)}&{urlencode({'label': label, **self._signed(LINK, key, label, int(expires))})}"

    def preview(self, base: str, key: str, now: float) -> str:
        """Return the link that shows the study to the experimenter for an hour; what is answered there is marked.

        Args:
            now: UTC seconds since 1970.

        Raises:
            ConfigError: an unusable address, or secrets that cannot be used.
        """
        signed = self._signed(PREVIEW_LINK, key, "", int(now) + PREVIEW_SECONDS)
        return f"{plain(base, key)}&{urlencode({PREVIEW: '1', **signed})}"

    def verify(self, query: Mapping[str, str], key: str, now: float) -> str:
        """Return the label of a personal link.

        Args:
            query: parameters of the address; key: of the study; now: UTC seconds since 1970.

        Raises:
            ConfigError: it is incomplete, not signed here for this study, or expired.
        """
        label, expires = query.get("label", ""), query.get("expires", "")
        if not (_LABEL.fullmatch(label) and _NUMBER.fullmatch(expires)):
            raise ConfigError("This link is incomplete: open the whole link that you were given.")
        if not self._made_here(LINK, key, label, query):
            raise ConfigError("This link is not valid for this study: open exactly the link that you were given.")
        if now >= int(expires):
            raise ConfigError("This link has expired: ask who gave it to you for a new one.")
        return label

    def check_preview(self, query: Mapping[str, str], key: str, now: float) -> None:
        """Check a preview's link.

        Args:
            query: parameters of the address; key: of the study; now: UTC seconds since 1970.

        Raises:
            ConfigError: it is not signed here for this study, or expired.
        """
        expires = query.get("expires", "")
        if not (_NUMBER.fullmatch(expires) and self._made_here(PREVIEW_LINK, key, "", query)):
            raise ConfigError("A preview is for experimenters: open it by the link on the study page.")
        if now >= int(expires):
            raise ConfigError("This preview's link has expired: reload the study page, which shows a new one.")

    def fingerprint(self, study_id: str, external_id: str) -> str:
        """Return a keyed hash of an id, 64 hexadecimal digits: without the secret nobody can try ids against it.

        Raises:
            ConfigError: the secrets cannot be used.
        """
        first = next(iter(self._secrets().values()))
        return _sign(first, ID, study_id, external_id, 0)

    def _signed(self, kind: str, key: str, label: str, until: int) -> dict[str, str]:
        kid, secret = list(self._secrets().items())[-1]
        return {"expires": str(until), "kid": kid, "sig": _sign(secret, kind, key, label, until)}

    def _made_here(self, kind: str, key: str, label: str, query: Mapping[str, str]) -> bool:
        secret = self._secrets().get(query.get("kid", ""))
        # Without a secret there is a comparison as well, which fails.
        expected = _sign(secret or secrets.token_bytes(SECRET_BYTES), kind, key, label, int(query["expires"]))
        return hmac.compare_digest(query.get("sig", "").encode(errors="replace"), expected.encode())

    def _secrets(self) -> dict[str, bytes]:
        """Return the secrets by their ids, in the order of the file; participants may read the sentences."""
        where = f"The file “{self.path.name}” of the data folder, whose secrets sign links and ids,"
        try:
            if not self.path.exists():
                _create(self.path)
            mode = self.path.stat().st_mode
            values = [bytes.fromhex(line) for line in self.path.read_text(encoding="ascii").split()]
        except (OSError, ValueError) as error:
            logger.exception("the secrets of personal links cannot be read")
            raise ConfigError(f"{where} cannot be used: restore or delete it.") from error
        if os.name == "posix" and mode & 0o077:
            raise ConfigError(f"{where} is open to others: delete it, or set its mode to 600 if nobody has read it.")
        if not values or min(map(len, values)) < SECRET_BYTES:
            raise ConfigError(f"{where} has no secret of {SECRET_BYTES} bytes a line: restore or delete it.")
        return {hashlib.sha256(b"id of\0" + value).hexdigest()[:8]: value for value in values}


def _sign(secret: bytes, kind: str, key: str, label: str, expires: int) -> str:
    message = json.dumps([kind, key, label, expires])  # no two lists give one text
    return hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()


def _create(path: Path) -> None:
    """Write a first secret; of two processes that try, one wins and nobody sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
        logger.info("made a secret for personal links")
    except FileExistsError:
        logger.info("another process made the secret for personal links")
    finally:
        os.unlink(name)


SIGNED_ONLY = "This study is open by personal links only: open the whole link that you were given."
NO_ID = "This link carries no participant id: open the study from the service that invited you, or ask for your link."
NOT_FILLED = "This link still holds a placeholder in place of your id: open it from the service that invited you."
TYPE_IT = "Please type the participant id that you were given."
NOT_YOURS = "This id belongs to a personal link: open the whole link that you were given."


def arriving_id(query: Mapping[str, str], key: str, way: WaysIn, signer: Signer, now: float) -> str | None:
    """Return the external id that an address carries; None: none, and it may be typed.

    Args:
        query: parameters of the address; key: of the study; way: the design's ``entry``; now: UTC seconds since 1970.

    Raises:
        ConfigError: a personal link that is not valid, or an address that the design does not let in.
    """
    if is_signed(query):
        return PERSONAL + signer.verify(query, key, now)
    if way == "signed":
        raise ConfigError(SIGNED_ONLY)
    given = query.get(ID_PARAMETER, "").strip()
    if "{{%" in given:
        raise ConfigError(NOT_FILLED)
    if not given and way == "link":
        raise ConfigError(NO_ID)
    return _unsigned(given) if given else None


def typed_id(text: str, way: WaysIn) -> str:
    """Return the external id that was typed; empty: none, where the design lets people in without.

    Raises:
        ConfigError: it is missing, or looks like a personal link's.
    """
    given = text.strip()
    if not given and way != "open":
        raise ConfigError(TYPE_IT)
    return _unsigned(given)


def _unsigned(external: str) -> str:
    if external.startswith(PERSONAL):
        raise ConfigError(NOT_YOURS)
    return external
