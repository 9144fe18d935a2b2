"""Hostile inputs at the doors that parse: a seeded stretch of the fuzz, and the kinds of fault that it has found."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import __main__ as fuzz
from benchmarks.fuzz import doors
from benchmarks.fuzz import run as runs
from benchmarks.fuzz.run import Run
from spade_core.errors import ConfigError
from spade_core.study.admission.links import Signer, arriving_id
from spade_core.study.data.tables import text_sha256
from spade_core.study.design.design import TEMPLATE, parse_design
from spade_core.ui.common.link import Choice


@pytest.mark.parametrize("inputs", [3_000, pytest.param(60_000, marks=pytest.mark.long)])
def test_hostile_inputs_raise_nothing_but_sentences(tmp_path, monkeypatch, inputs):
    if inputs < 10_000:  # the libraries that networks come from take seconds to load
        monkeypatch.setattr(doors, "network_doors", lambda _: {})
    run = Run(seed=inputs)
    run.go_on(tmp_path, inputs=inputs)
    assert run.found == {}
    assert min(run.tried.values()) > inputs / 40


def test_a_stopped_fuzz_goes_on_with_the_inputs_that_are_left(tmp_path, monkeypatch, capsys):
    met = []
    monkeypatch.setattr(runs, "doors", lambda _: {"one": ("good", met.append), "two": ("fine", met.append)})
    file = tmp_path / "fuzz.json"
    for inputs in ("30", "50"):
        monkeypatch.setattr("sys.argv", ["fuzz", "--inputs", inputs, "--resume", str(file)])
        assert fuzz.main() == 0
    resumed = list(met)
    met.clear()
    Run(seed=0).go_on(tmp_path, inputs=50)
    assert resumed == met
    assert "50 inputs, 0 kinds of fault" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["²", "--1", "٣", "9" * 5000, "-", "1_0", " 1"])
@pytest.mark.parametrize("name", ["target", "seed", "steps", "channel"])
def test_a_number_in_a_link_is_one_of_plain_digits(name, text):
    with pytest.raises(ConfigError, match="must be a whole number"):
        Choice.from_query({name: text})


@pytest.mark.parametrize("value", ["2001-99-99", "!!float x", "9" * 5000, "[" * 5000, "!!timestamp x", "!!binary é"])
def test_yaml_that_its_reader_stumbles_over_is_one_sentence(value):
    text = TEMPLATE.read_text(encoding="utf-8").replace("seed: 0", f"seed: {value}")
    with pytest.raises(ConfigError, match="design"):
        parse_design(text)


def test_a_signature_that_is_no_text_is_no_signature(tmp_path):
    query = {"label": "P1", "expires": "2000000000", "kid": "x", "sig": "\ud800"}
    with pytest.raises(ConfigError, match="not valid for this study"):
        arriving_id(query, "key", "open", Signer(tmp_path / "secrets"), 1.0)
    assert text_sha256("\ud800") != text_sha256("?")
