"""Links into a study."""

from __future__ import annotations

import os
import stat
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from spade_core.errors import ConfigError
from spade_core.study.admission import links
from spade_core.study.admission.links import Signer

BASE, KEY, NOW = "https://study.example.org/lab/", "abc_-9", 1_000_000.0


def query_of(link):
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


@pytest.fixture
def signer(tmp_path):
    return Signer(tmp_path / "data" / "link_secrets")


def test_links_lead_to_the_survey():
    assert links.plain(BASE, KEY) == "https://study.example.org/lab/survey?study=abc_-9"
    assert links.prolific(BASE, KEY).endswith(
        "&PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
    )


@pytest.mark.parametrize(
    "base", ["", "study.example.org", "ftp://a.org", "https://", "https://a.org/?x=1", "http://[::1"]
)
def test_an_unusable_address_is_one_sentence(base):
    with pytest.raises(ConfigError, match="must look like"):
        links.plain(base, KEY)


def test_a_personal_link_gives_its_label(signer):
    query = query_of(signer.personal(BASE, KEY, "P-01.a", NOW + 60))
    assert links.is_signed(query)
    assert not links.is_signed({"study": KEY, "PROLIFIC_PID": "x"})
    assert signer.verify(query, KEY, NOW) == "P-01.a"
    assert Signer(signer.path).verify(query, KEY, NOW) == "P-01.a"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"label": "P2"}, "not valid"),
        ({"expires": "9999999999"}, "not valid"),
        ({"sig": "0" * 64}, "not valid"),
        ({"sig": "é"}, "not valid"),
        ({"sig": ""}, "not valid"),
        ({"kid": "00000000"}, "not valid"),
        ({"label": ""}, "incomplete"),
        ({"label": "a b"}, "incomplete"),
        ({"expires": "1e9"}, "incomplete"),
        ({"expires": "-1"}, "incomplete"),
        ({"expires": "٣"}, "incomplete"),
    ],
)
def test_a_changed_link_is_refused_with_a_sentence(signer, change, match):
    query = query_of(signer.personal(BASE, KEY, "P1", NOW + 60))
    with pytest.raises(ConfigError, match=match) as caught:
        signer.verify({**query, **change}, KEY, NOW)
    assert str(caught.value).count(".") == 1


def test_a_link_serves_its_study_and_its_time_only(signer):
    query = query_of(signer.personal(BASE, KEY, "P1", NOW + 60))
    with pytest.raises(ConfigError, match="not valid for this study"):
        signer.verify(query, "another", NOW)
    assert signer.verify(query, KEY, NOW + 59.9) == "P1"
    with pytest.raises(ConfigError, match="expired"):
        signer.verify(query, KEY, NOW + 60)


def test_every_part_missing_is_refused(signer):
    query = query_of(signer.personal(BASE, KEY, "P1", NOW + 60))
    for name in links.SIGNED:
        assert links.is_signed({name: query[name]})
        with pytest.raises(ConfigError):
            signer.verify({key: value for key, value in query.items() if key != name}, KEY, NOW)


def test_signatures_are_compared_in_constant_time_and_an_unknown_secret_too(signer, monkeypatch):
    query = query_of(signer.personal(BASE, KEY, "P1", NOW + 60))
    compared, true = [], links.hmac.compare_digest
    monkeypatch.setattr(links.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or true(a, b))
    assert signer.verify(query, KEY, NOW) == "P1"
    for change in ({"sig": "0" * 64}, {"kid": "00000000"}, {"label": "P2"}):
        with pytest.raises(ConfigError, match="not valid"):
            signer.verify({**query, **change}, KEY, NOW)
    assert len(compared) == 4, "one comparison each, whatever is wrong"
    assert all(len(expected) == 64 for _, expected in compared)


def test_an_expired_link_that_was_changed_says_nothing_of_its_expiry(signer):
    query = query_of(signer.personal(BASE, KEY, "P1", NOW - 60))
    with pytest.raises(ConfigError, match="not valid"):
        signer.verify({**query, "label": "P2"}, KEY, NOW)


def test_parts_cannot_move_between_study_label_and_expiry(signer):
    sig = query_of(signer.personal(BASE, "ab", "c1", 23))["sig"]
    for key, label, expires in (("a", "bc1", 23), ("ab", "c", 123), ("abc1", "2", 3)):
        assert query_of(signer.personal(BASE, key, label, expires))["sig"] != sig


@pytest.mark.parametrize("label", ["", "a b", "é", "x" * 61, "a&b"])
def test_unusable_labels(signer, label):
    with pytest.raises(ConfigError, match="code, not a name"):
        signer.personal(BASE, KEY, label, NOW)


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_the_secret_is_its_owners_alone(signer):
    signer.personal(BASE, KEY, "P1", NOW)
    assert stat.S_IMODE(signer.path.stat().st_mode) == 0o600
    assert [path.name for path in signer.path.parent.iterdir()] == ["link_secrets"]
    signer.path.chmod(0o644)
    with pytest.raises(ConfigError, match="open to others") as caught:
        signer.personal(BASE, KEY, "P1", NOW)
    assert str(signer.path.parent) not in str(caught.value)


def test_a_new_secret_signs_and_the_old_one_still_serves_until_its_line_goes(signer):
    old = query_of(signer.personal(BASE, KEY, "P1", NOW + 60))
    before = signer.path.read_text()
    signer.path.write_text(before + "ab" * 32 + "\n")
    new = query_of(signer.personal(BASE, KEY, "P1", NOW + 60))
    assert new["kid"] != old["kid"]
    assert signer.verify(old, KEY, NOW) == signer.verify(new, KEY, NOW) == "P1"
    signer.path.write_text("ab" * 32 + "\n")
    assert signer.verify(new, KEY, NOW) == "P1"
    with pytest.raises(ConfigError, match="not valid"):
        signer.verify(old, KEY, NOW)


@pytest.mark.parametrize("text", ["", "abcd\n", "no hex\n"])
def test_a_broken_secret_is_said(signer, text):
    signer.personal(BASE, KEY, "P1", NOW)
    signer.path.write_text(text)
    with pytest.raises(ConfigError, match="restore or delete it"):
        signer.personal(BASE, KEY, "P1", NOW)


def test_threads_that_start_together_share_one_secret(tmp_path):
    start, kids = threading.Barrier(12), []

    def one():
        start.wait()
        kids.append(query_of(Signer(tmp_path / "link_secrets").personal(BASE, KEY, "P1", NOW))["kid"])

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kids) == 12
    assert len(set(kids)) == 1


def test_a_preview_serves_its_study_for_an_hour(signer):
    query = query_of(signer.preview(BASE, KEY, NOW))
    assert links.is_preview(query)
    assert set(query) == {"study", "preview", "expires", "kid", "sig"}
    signer.check_preview(query, KEY, NOW + 3599)
    with pytest.raises(ConfigError, match="expired"):
        signer.check_preview(query, KEY, NOW + 3600)
    with pytest.raises(ConfigError, match="for experimenters"):
        signer.check_preview(query, "another", NOW)


@pytest.mark.parametrize("change", [{"expires": "9999999999"}, {"expires": "x"}, {"sig": "0" * 64}, {"kid": "0" * 8}])
def test_a_changed_preview_is_refused(signer, change):
    query = query_of(signer.preview(BASE, KEY, NOW))
    for changed in ({**query, **change}, {name: query[name] for name in query if name not in change}):
        with pytest.raises(ConfigError, match="for experimenters"):
            signer.check_preview(changed, KEY, NOW)


def test_neither_kind_of_link_passes_as_the_other(signer):
    personal, preview = query_of(signer.personal(BASE, KEY, "P1", NOW + 60)), query_of(signer.preview(BASE, KEY, NOW))
    with pytest.raises(ConfigError, match="for experimenters"):
        signer.check_preview({**personal, "preview": "1"}, KEY, NOW)
    with pytest.raises(ConfigError, match="not valid"):
        signer.verify({**preview, "label": "P1"}, KEY, NOW)
    with pytest.raises(ConfigError, match="incomplete"):
        signer.verify(preview, KEY, NOW)
