"""The options of a trace: declared once, and from there checked, said in commands and links, and asked for on pages."""

from __future__ import annotations

import inspect
import json
import shlex
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

import spade_core as sc
from spade_core.cli import build_parser
from spade_core.cli.options import bundle_options, trace_options
from spade_core.errors import ConfigError
from spade_core.pruning.options import RATIO_OPTIONS, TRACE_OPTIONS, TraceConfig, TraceOptions, checked
from spade_core.ui.common.command import explain_command
from spade_core.ui.common.link import Choice

ROOT = Path(__file__).resolve().parent.parent.parent
TRACING = {
    "explain": "--image p --method saliency --out o",
    "visualize": "--image p --out o",
    "trace": "--image p --out o",
    "neurons": "--image p --layer x",
    "rater": "--images p --out o",
}
VALUES = {
    "preset": "auto",
    "sparsity": 0.25,
    "stages": {"a.1": 0.5, "b": 1.0},
    "table": {
        "chosen": "so",
        "stages": {"a": 0.5},
        "depthwise": 0.0,
        "options": {"views": 4, "weighting": "target"},
        "methods": {"lrp": {}},
    },
    "solver": "magnitude",
    "calibration": "independent",
    "views": 5,
    "untouched": 0,
    "noisy": 2,
    "weighting": "target",
    "refit": 2.5,
    "damping": 0.5,
    "block_size": 3,
    "first_layer": True,
    "positions": 0,
    "seed": 7,
}
EXTENDED = '''
import json, sys, types
from importlib.util import find_spec
from pathlib import Path

name, mark = "spade_core.pruning.options", "    seed: int = _option("
source = Path(find_spec(name).origin).read_text(encoding="utf-8")
assert source.count(mark) == 1
declaration = """    toys: int | None = _option(
        None, Whole("number of toys", 1, 9, "must lie between 1 and 9"), "toys", otherwise=3, widget=Widget("Toys")
    )
"""
module = sys.modules[name] = types.ModuleType(name)
exec(compile(source.replace(mark, declaration + mark), name, "exec"), module.__dict__)

import streamlit as st
from streamlit.testing.v1 import AppTest
import spade_core as sc
from spade_core.cli import build_parser
from spade_core.cli.options import trace_options
from spade_core.errors import ConfigError
from spade_core.ui.common.link import Choice
from tests import nets


PAGE = """
import streamlit as st
from spade_core.ui.common.command import explain_command
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers import pick_trace

choice = pick_trace(Choice(), Choice(toys=2), ["a", "b"], None)
st.code(explain_command(choice, {"name": "m"}, "p"))
st.code(choice.to_query()["toys"])
"""


def refused(call):
    try:
        call()
    except ConfigError as error:
        return str(error)


app = AppTest.from_string(PAGE, default_timeout=60).run()
begin = app.number_input(key="toys").value
app.number_input(key="toys").set_value(4).run()
words = ["explain", "--image", "p", "--out", "o", "--method", "saliency"]
model, picture = nets.plain(), sc.load_picture("bundled:coffee")
made = [sc.trace(model, picture, sparsity=0.5, views=2, **more).config.to_dict()["toys"] for more in ({}, {"toys": 5})]
print(json.dumps({
    "command": [trace_options(build_parser().parse_args(words + more)).get("toys") for more in ([], ["--toys", "5"])],
    "link": Choice.from_query({"toys": "5"}).to_query()["toys"],
    "bad link": refused(lambda: Choice.from_query({"toys": "10"})),
    "bad value": refused(lambda: sc.trace(model, picture, toys=10)),
    "widget": begin,
    "shown": [item.value for item in app.code],
    "manifest": made,
}))
'''


@pytest.mark.long
def test_a_new_declaration_alone_reaches_command_link_page_shown_command_and_manifest():
    done = subprocess.run([sys.executable, "-c", EXTENDED], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["command"] == [None, 5]
    assert found["link"] == "5"
    assert found["bad link"] == "The link's number of toys must be a whole number from 1 to 9, not '10'."
    assert found["bad value"] == "The number of toys must lie between 1 and 9, not 10."
    assert found["widget"] == 2
    assert "--toys 4" in found["shown"][0]
    assert found["shown"][1] == "4"
    assert found["manifest"] == [3, 5]


def test_every_option_is_tried_here():
    assert list(VALUES) == list(TRACE_OPTIONS) == [one.name for one in fields(TraceOptions)]
    plain = TraceOptions()
    assert all(value != getattr(plain, name) for name, value in VALUES.items())


@pytest.mark.parametrize("name", VALUES)
def test_a_link_carries_every_option(name):
    choice = replace(Choice(), **{name: VALUES[name]})
    query = choice.to_query()
    assert name in query
    assert Choice.from_query(query) == choice


@pytest.mark.parametrize("command", TRACING)
@pytest.mark.parametrize("name", VALUES)
def test_every_command_that_traces_takes_every_option(command, name):
    option = TRACE_OPTIONS[name]
    said = option.kind.words(option.flag, VALUES[name])
    options = build_parser().parse_args([command, *TRACING[command].split(), *said])
    found = {"seed": options.seed, **trace_options(options)}
    assert found[name] == VALUES[name]


@pytest.mark.parametrize(
    "ratios",
    [
        {},
        {"preset": "uniform", "sparsity": 0.25},
        {"preset": "custom", "stages": {"a": 0.5}},
        {"table": VALUES["table"]},
    ],
)
def test_the_shown_command_makes_the_trace_of_the_page(ratios):
    rest = {name: value for name, value in VALUES.items() if name not in RATIO_OPTIONS}
    for choice in (Choice(**ratios), Choice(**ratios, **rest)):
        words = shlex.split(explain_command(choice, {"name": "resnet18"}, "my picture.png"))
        options = build_parser().parse_args(words[3:])
        assert trace_options(options) == choice.trace_options()
        assert {**trace_options(options), "seed": options.seed} == choice.trace_arguments()


def test_a_ratio_of_another_preset_is_not_passed_on():
    choice = Choice(preset="auto", sparsity=0.5, stages={"a": 0.5})
    assert choice.trace_options() == {"preset": "auto", "solver": "fastspade"}
    assert "--sparsity" not in explain_command(choice, {"name": "resnet18"}, "p")
    for size, said in ((64, "64"), ((256, 192), "256x192"), ([256, 192], "256x192")):
        own = explain_command(choice, {"weights": "w.pt", "arch": "resnet18", "size": size}, "p")
        assert f"--arch resnet18 --size {said}" in own


def test_what_is_open_is_filled_by_the_preset_and_then_as_declared():
    asked = checked({"views": None, "sparsity": "0.5", "stages": None, "seed": 2**60 + 1})
    assert (asked.preset, asked.sparsity, asked.stages, asked.seed) == ("uniform", 0.5, {}, 2**60 + 1)
    config = asked.filled({"untouched": 0, "views": 8, "damping": 0.25})
    assert isinstance(config, TraceConfig)
    assert config.to_dict() == {
        "preset": "uniform",
        "sparsity": 0.5,
        "stages": {},
        "table": None,
        "solver": "fastspade",
        "calibration": "sequential",
        "views": 8,
        "untouched": 0,
        "noisy": 0,
        "weighting": "none",
        "refit": 0.0,
        "damping": 0.25,
        "block_size": None,
        "first_layer": False,
        "positions": 2048,
        "seed": 2**60 + 1,
    }
    said = checked({"views": 2, "untouched": 0}).filled({"views": 8, "untouched": 1, "damping": 0.0})
    assert (said.views, said.untouched) == (2, 0), "what people say goes first, 0 included"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"viewz": 3}, "A trace has no option 'viewz': take one of preset, sparsity, "),
        ({"views": "many"}, "The number of views must lie between 1 and 16,384, not many."),
        ({"seed": "x"}, "The seed must be a whole number from 0 to 2^63 - 1, not 'x'."),
        ({"untouched": -1}, "The number of untouched views must be 0 or more, not -1."),
        ({"damping": float("nan")}, "The damping must be a fraction of the mean diagonal, 0 to 10, not nan."),
        (
            {"solver": ["spade"]},
            "There is no solver ['spade']: take one of fastspade, spade, spade-rows, admm, magnitude, random.",
        ),
        ({"stages": 0.5}, "The sparsity of 0.5 must be a fraction"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(options, message):
    with pytest.raises(ConfigError) as caught:
        checked(options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            {"untouched": "-1"},
            "The link's number of untouched views must be a whole number from 0 to 2,147,483,647, not '-1'.",
        ),
        ({"damping": "much"}, "The link's damping must be a fraction of the mean diagonal, 0 to 10, not 'much'."),
        ({"block_size": "0"}, "The link's block size must be a whole number from 1 to 2,147,483,647, not '0'."),
    ],
)
def test_a_bad_option_of_a_link_is_one_sentence(query, message):
    with pytest.raises(ConfigError) as caught:
        Choice.from_query(query)
    assert str(caught.value) == message


def test_the_function_shows_its_options():
    parameters = inspect.signature(sc.trace).parameters
    for name in TRACE_OPTIONS:
        assert parameters[name].default == getattr(TraceOptions(), name)
        assert f"        {name}: " in sc.trace.__doc__, f"{name} is documented"
    assert "options" not in parameters


def test_the_options_wait_for_nothing_heavy():
    code = "import sys; import spade_core.pruning.options; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", ["preset", "solver", "calibration"])
def test_the_help_of_a_choice_names_all_that_there_is(name):
    option = TRACE_OPTIONS[name]
    *most, last = option.kind.table
    assert option.help.startswith(f"{', '.join(most)} or {last} (")


def test_the_options_of_a_bundle_reach_link_and_shown_command():
    choice = Choice(traces=3, average="signed")
    assert choice.to_query()["traces"] == "3"
    assert Choice.from_query(choice.to_query()) == choice
    words = shlex.split(explain_command(choice, {"name": "resnet18"}, "p"))
    assert bundle_options(build_parser().parse_args(words[3:])) == choice.bundle()
    assert "--average" not in explain_command(Choice(average="signed"), {"name": "resnet18"}, "p")
    with pytest.raises(ConfigError, match="The link's number of traces must be a whole number from 1 to 64, not '0'"):
        Choice.from_query({"traces": "0"})
    with pytest.raises(ConfigError, match="names an unknown average 'x': it is one of magnitude, signed"):
        Choice.from_query({"average": "x"})
