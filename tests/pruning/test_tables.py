"""Tables that people give: read from files, checked, and taken in the place of a model's own."""

from __future__ import annotations

import json

import pytest
import torch

from spade_core.errors import ConfigError
from spade_core.pruning.options import checked
from spade_core.pruning.spade import trace
from spade_core.pruning.tables import Table, of_methods

WRITTEN = {
    "chosen": "By a test.",
    "stages": {"pointwise": 0.5, "head": 0.8},
    "depthwise": 0.0,
    "options": {"views": 2, "block_size": 1},
    "methods": {"saliency": {"head": 0.9}, "lrp": "dense"},
    "provenance": {"objective": "trojan-auc"},
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tuned.json"
    path.write_text(json.dumps(WRITTEN))
    return path


def test_a_file_its_text_and_what_it_holds_are_one_table(file):
    found = [checked({"table": given}).table for given in (file, str(file), json.dumps(WRITTEN), WRITTEN)]
    assert found == [found[0]] * 4
    assert found[0]["methods"] == {"saliency": {"head": 0.9}, "lrp": {}}
    assert "provenance" not in found[0]
    assert Table().check(found[0]) == found[0]
    assert Table().read(Table().write(found[0])) == found[0]


def test_a_trace_takes_the_ratios_and_options_of_its_table(small, noise, file):
    made = trace(small, noise, table=file)
    asked = {row.name: row.requested for row in made.report.layers}
    assert asked == {"stem": 0, "depthwise": 0, "pointwise": 0.5, "grouped": 0, "head": 0.8}
    assert (made.config.preset, made.config.views, made.config.block_size) == ("default", 2, 1)
    assert trace(small, noise, table=file, views=3).config.views == 3
    again = trace(small, noise, **json.loads(json.dumps(made.config.to_dict())))
    assert all(torch.equal(value, again.module.state_dict()[name]) for name, value in made.module.state_dict().items())


def test_a_table_without_ratios_prunes_nothing(small, noise):
    made = trace(small, noise, table={"stages": "dense"})
    assert made.report.sparsity == 0
    assert {row.status for row in made.report.layers} == {"dense"}
    assert made.fidelity.kl == 0


def test_a_method_has_its_own_ratios_or_those_of_the_mean(file):
    found = of_methods(checked({"table": file}).table, ["saliency", "lrp", "occlusion"])
    assert {slug: one["stages"] for slug, one in found.items()} == {
        "saliency": {"head": 0.9},
        "lrp": {},
        "occlusion": {"pointwise": 0.5, "head": 0.8},
    }
    assert all("methods" not in one and one["options"] == WRITTEN["options"] for one in found.values())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("none.json", r"'none.json' cannot be read \(No such file"),
        ("{", "The table is not JSON: give a table that `tune` wrote"),
        ('{"a":' + "[" * 100_000, "The table is not JSON: give a table that `tune` wrote"),
        ({}, "lacks stages, .*: give a table that `tune` wrote"),
        ([], "The table lacks stages"),
        ({"stages": {"head": 2}}, "sparsity of head must be"),
        ({"stages": {"head": 10**400}}, "sparsity of head must be"),
        ({"stages": 3}, "sparsity of 3 must be"),
        ({"stages": {}, "options": {"viewz": 1}}, "no option 'viewz'"),
        ({"stages": {}, "options": {"views": "many"}}, "number of views must"),
        ({"stages": {"nowhere": 0.5}}, "has no stage 'nowhere'"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(small, noise, given, said):
    with pytest.raises(ConfigError, match=said):
        trace(small, noise, table=given)


def test_a_table_and_another_preset_do_not_go_together(file):
    for other in ({"preset": "weighted"}, {"sparsity": 0.5}):
        with pytest.raises(ConfigError, match="has its own ratios: leave it out, or the table"):
            checked({"table": file, **other})
    with pytest.raises(ConfigError, match="link's table must be JSON"):
        Table().read(str(file))  # a link names no file of the server
