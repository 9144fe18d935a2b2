"""Which address lets whom in."""

from __future__ import annotations

import pytest

from spade_core.errors import ConfigError
from spade_core.study.admission.links import Signer, arriving_id, typed_id
from tests.study.admission.test_links import BASE, KEY, NOW, query_of
from tests.study.conftest import real_design

WAYS = ("link", "typed", "open", "signed")


@pytest.fixture
def signer(tmp_path):
    return Signer(tmp_path / "link_secrets")


@pytest.mark.parametrize("way", WAYS)
def test_a_personal_link_is_let_in_by_every_setting_and_a_changed_one_by_none(signer, way):
    query = query_of(signer.personal(BASE, KEY, "P1", NOW + 60))
    assert arriving_id(query, KEY, way, signer, NOW) == "personal:P1"
    for change in ({"sig": "0" * 64}, {"label": ""}, {"PROLIFIC_PID": "x", "sig": ""}):
        with pytest.raises(ConfigError):
            arriving_id({**query, **change}, KEY, way, signer, NOW)


@pytest.mark.parametrize(
    ("query", "way", "found"),
    [
        ({"PROLIFIC_PID": "A"}, "link", "A"),
        ({"PROLIFIC_PID": " A "}, "typed", "A"),
        ({}, "typed", None),
        ({"PROLIFIC_PID": "A"}, "open", "A"),
        ({}, "open", None),
        ({"PROLIFIC_PID": ""}, "open", None),
        ({"PROLIFIC_PID": "  "}, "typed", None),
    ],
)
def test_an_id_comes_with_the_link_or_is_typed(signer, query, way, found):
    assert arriving_id(query, KEY, way, signer, NOW) == found


@pytest.mark.parametrize(
    ("query", "way", "words"),
    [
        ({}, "link", "carries no participant id"),
        ({"PROLIFIC_PID": ""}, "link", "carries no participant id"),
        ({}, "signed", "personal links only"),
        ({"PROLIFIC_PID": "A"}, "signed", "personal links only"),
        ({"PROLIFIC_PID": "personal:P1"}, "signed", "personal links only"),
        ({"PROLIFIC_PID": "personal:P1"}, "open", "belongs to a personal link"),
        ({"PROLIFIC_PID": "{{%PROLIFIC_PID%}}"}, "open", "still holds a placeholder"),
    ],
)
def test_other_addresses_get_one_sentence(signer, query, way, words):
    with pytest.raises(ConfigError, match=words) as caught:
        arriving_id(query, KEY, way, signer, NOW)
    assert str(caught.value).count(".") == 1


def test_what_is_typed():
    assert typed_id(" A ", "typed") == typed_id("A", "open") == "A"
    assert typed_id(" ", "open") == ""
    with pytest.raises(ConfigError, match="type the participant id"):
        typed_id(" ", "typed")
    with pytest.raises(ConfigError, match="belongs to a personal link"):
        typed_id("personal:P1", "open")


def test_the_design_knows_the_settings():
    assert [real_design(entry=way).entry for way in WAYS] == list(WAYS)
    with pytest.raises(ValueError, match="entry"):
        real_design(entry="anyhow")
