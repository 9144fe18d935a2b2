"""Who gets in by which address: the id that a link carries, that is typed, or none, as the design's ``entry`` says.

A personal link is checked under every setting, so that a changed one never passes as a plain one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from spade_core.errors import ConfigError
from spade_core.study.admission.links import ID_PARAMETER, PERSONAL, Signer, external_id_of, is_signed

Way = Literal["link", "typed", "open", "signed"]

SIGNED_ONLY = "This study is open by personal links only: open the whole link that you were given."
NO_ID = "This link carries no participant id: open the study from the service that invited you, or ask for your link."
NOT_FILLED = "This link still holds a placeholder in place of your id: open it from the service that invited you."
TYPE_IT = "Please type the participant id that you were given."
NOT_YOURS = "This id belongs to a personal link: open the whole link that you were given."


def arriving_id(query: Mapping[str, str], key: str, way: Way, signer: Signer, now: float) -> str | None:
    """Return the external id that an address carries; None: none, and it may be typed.

    Args:
        query: parameters of the address; key: of the study; way: the design's ``entry``; now: UTC seconds since 1970.

    Raises:
        ConfigError: a personal link that is not valid, or an address that the design does not let in.
    """
    if is_signed(query):
        return external_id_of(signer.verify(query, key, now))
    if way == "signed":
        raise ConfigError(SIGNED_ONLY)
    given = query.get(ID_PARAMETER, "").strip()
    if "{{%" in given:
        raise ConfigError(NOT_FILLED)
    if not given and way == "link":
        raise ConfigError(NO_ID)
    return _unsigned(given) if given else None


def typed_id(text: str, way: Way) -> str:
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
