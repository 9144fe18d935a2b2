"""The options of methods: declared once, and from there checked, said in commands and links, and asked for on pages."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from spade_core.cli import build_parser, main
from spade_core.errors import ConfigError
from spade_core.pruning.kinds import Number, OneOf, Text, Whole
from spade_core.results.comparison import analyse, describe
from spade_core.results.config import AnalysisConfig
from spade_core.saliency import METHOD_OPTIONS, METHODS
from spade_core.saliency.explanation import explain
from spade_core.ui.common.command import explain_command
from spade_core.ui.common.link import Choice

ROOT = Path(__file__).resolve().parent.parent.parent
ALL = [(slug, name) for slug, method in METHODS.items() for name in method.options]
WORDS = ["explain", "--image", "p", "--out", "o", "--method", "saliency"]


def another(option):
    """A value of an option that is not its default, and that a text says exactly."""
    kind = option.kind
    if isinstance(kind, OneOf):
        return next(slug for slug in kind.table if slug != option.default)
    if isinstance(kind, Whole):
        return option.default + 1
    if isinstance(kind, Number):
        return 0.5
    assert isinstance(kind, Text)
    return "blocks.1.0"


EXTENDED = '''
import json, sys, types
from importlib.util import find_spec
from pathlib import Path

name, mark = "spade_core.saliency.options", "OPTIONS: dict[str, Mapping[str, MethodOption]] = {"
source = Path(find_spec(name).origin).read_text(encoding="utf-8")
assert source.count(mark) == 1
declaration = """
    "saliency": {"toys": MethodOption(Whole("toys", 1, 9, "must lie between 1 and 9"), 3, "Toys", "How many toys.")},
"""
for other in [one for one in sys.modules if one.startswith("spade_core")]:
    del sys.modules[other]  # finding the module has imported its package
module = sys.modules[name] = types.ModuleType(name)
exec(compile(source.replace(mark, mark + declaration), name, "exec"), module.__dict__)

from streamlit.testing.v1 import AppTest
import spade_core as sc
from spade_core.cli import build_parser
from spade_core.errors import ConfigError
from spade_core.results.comparison import analyse, describe
from spade_core.results.config import AnalysisConfig
from spade_core.saliency import METHOD_OPTIONS
from spade_core.ui.common.link import Choice
from tests import nets

PAGE = """
import streamlit as st
from dataclasses import replace
from spade_core.ui.common.command import explain_command
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers import pick_method_options

start = Choice.from_query({"methods": "saliency", "options": "saliency.toys:2"})
choice = replace(start, options=pick_method_options(start, start.methods))
st.code(explain_command(choice, {"name": "m"}, "p"))
st.code(choice.to_query()["options"])
"""


def refused(call):
    try:
        call()
    except ConfigError as error:
        return str(error)


app = AppTest.from_string(PAGE, default_timeout=60).run()
begin = app.number_input(key="option_saliency_toys").value
app.number_input(key="option_saliency_toys").set_value(4).run()
words = ["explain", "--image", "p", "--out", "o", "--method", "saliency", "--option", "saliency.toys=5"]
model, picture = nets.plain(), sc.load_picture("bundled:coffee")
config = AnalysisConfig(("saliency",), 1, {"sparsity": 0.5, "views": 2}, {"saliency": {"toys": 5}})
described = describe(analyse(model, picture, config))
print(json.dumps({
    "command": METHOD_OPTIONS.said(build_parser().parse_args(words).option),
    "link": Choice.from_query({"options": "saliency.toys:5"}).to_query()["options"],
    "bad link": refused(lambda: Choice.from_query({"options": "saliency.toys:10"})),
    "bad value": refused(lambda: sc.explain(model, picture, method="saliency", toys=10)),
    "library": [sc.explain(model, picture, method="saliency", **more).settings["toys"] for more in ({}, {"toys": 5})],
    "field": begin,
    "shown": [item.value for item in app.code],
    "manifest": [described["config"]["options"], described["methods"]["saliency"]["settings"]["toys"]],
}))
'''


@pytest.mark.long
def test_a_new_declaration_alone_reaches_library_command_link_page_shown_command_and_manifest():
    done = subprocess.run([sys.executable, "-c", EXTENDED], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["command"] == {"saliency": {"toys": 5}}
    assert found["link"] == "saliency.toys:5"
    assert found["bad link"] == ("Saliency (gradient): the link's toys must be a whole number from 1 to 9, not '10'.")
    assert found["bad value"] == "Saliency (gradient): the toys must lie between 1 and 9, not 10."
    assert found["library"] == [3, 5]
    assert found["field"] == 2
    assert "--option saliency.toys=4" in found["shown"][0]
    assert found["shown"][1] == "saliency.toys:4"
    assert found["manifest"] == [{"saliency": {"toys": 5}}, 5]


@pytest.mark.parametrize(("slug", "name"), ALL)
def test_links_and_commands_carry_every_option(slug, name):
    options = {slug: {name: another(METHODS[slug].options[name])}}
    choice = Choice(methods=(slug,), options=options)
    assert Choice.from_query(choice.to_query()) == choice
    said = build_parser().parse_args(shlex.split(explain_command(choice, {"name": "m"}, "p"))[3:])
    assert METHOD_OPTIONS.said(said.option) == options
    assert METHODS[slug].complete(options[slug])[name] == options[slug][name]
    assert AnalysisConfig.from_dict(json.loads(json.dumps(AnalysisConfig((slug,), options=options).to_dict())))


PAGE = """
import streamlit as st
from spade_core.saliency import METHODS
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers import pick_method_options

st.json(pick_method_options(Choice.from_query({query}), {methods}))
"""


def page(methods, **query):
    app = AppTest.from_string(PAGE.format(query=query, methods=methods), default_timeout=60).run()
    assert not app.exception
    return app


def test_the_page_has_one_field_for_each_option_of_the_chosen_methods():
    app = page(list(METHODS))
    fields = [item.key for kind in ("number_input", "selectbox", "text_input") for item in app.get(kind)]
    assert sorted(fields) == sorted(f"option_{slug}_{name}" for slug, name in ALL)
    assert json.loads(app.json[0].value) == {}, "what is at its default is not said"
    assert all(item.help for kind in ("number_input", "selectbox", "text_input") for item in app.get(kind))
    assert not page(["saliency"]).expander


def test_a_field_begins_where_the_link_says_and_gives_what_is_chosen():
    app = page(["lime", "gradcam"], options="lime.samples:9,gradcam.layer:blocks.1,occlusion.window:0.5")
    assert app.number_input(key="option_lime_samples").value == 9
    assert json.loads(app.json[0].value) == {"lime": {"samples": 9}, "gradcam": {"layer": "blocks.1"}}
    app.number_input(key="option_lime_ridge").set_value(2.5)
    app.selectbox(key="option_gradcam_layer").set_value("").run()
    assert json.loads(app.json[0].value) == {"lime": {"samples": 9, "ridge": 2.5}}


def test_what_is_at_its_default_is_not_said_and_changes_no_key():
    assert METHOD_OPTIONS.said(["lime.samples=400", "lime.segments=3"]) == {"lime": {"segments": 3}}
    assert METHOD_OPTIONS.said(["lime.samples=400"]) == {}
    assert METHOD_OPTIONS.read("lime.samples:400") == {}
    assert Choice(methods=("lime",)).to_query() == {"methods": "lime"}
    assert AnalysisConfig(("lime",)).to_dict()["options"] == {}


def test_options_change_the_key_of_a_kept_result():
    from spade_core.jobs.manager import job_key

    payloads = [
        {"config": AnalysisConfig(("lime",), options=options).to_dict()} for options in ({}, {"lime": {"samples": 3}})
    ]
    assert job_key("analysis", payloads[0]) != job_key("analysis", payloads[1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lime.samples=0", "LIME: the number of samples must be a whole number from 1 to 100,000, not 0."),
        ("lime.samples=2.5", "LIME: the number of samples must be"),
        ("lime.sample=3", "LIME has no option 'sample': take samples, segments, ridge"),
        ("saliency.samples=3", "Saliency (gradient) has no option 'samples': leave it out."),
        ("shap.samples=3", "There is no method 'shap': take one of "),
        ("lime.samples", "'lime.samples' is no option of a method: give METHOD.NAME=VALUE"),
        ("samples=3", "'samples=3' is no option of a method: give METHOD.NAME=VALUE"),
        (
            "lime.samples=3",
            "Options are given for 'lime', which is none of the chosen methods: leave them out.",
        ),
    ],
)
def test_a_bad_option_of_a_command_is_one_sentence_and_exit_code_2(words, message, capsys):
    assert main([*WORDS, "--option", words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert line.endswith(".")


def test_a_bad_option_of_a_link_is_one_sentence():
    with pytest.raises(ConfigError, match=r"Occlusion: the link's window must lie between 0.001 and 1, not '2'\."):
        Choice.from_query({"options": "occlusion.window:2"})


def test_a_replay_computes_with_the_options_of_the_manifest(small, noise):
    options = {"occlusion": {"window": 0.5, "stride": 0.3}, "smoothgrad": {"samples": 3}}
    config = AnalysisConfig(tuple(options), 1, {"sparsity": 0.5, "views": 2}, options, 3)
    described = json.loads(json.dumps(describe(analyse(small, noise, config))))
    again = describe(analyse(small, noise, AnalysisConfig.from_dict(described["config"])))
    plain = describe(analyse(small, noise, replace(config, options={})))
    for slug in options:
        for side in ("dense", "spade"):
            assert again["methods"][slug][side]["sha256"] == described["methods"][slug][side]["sha256"]
            assert plain["methods"][slug][side]["sha256"] != described["methods"][slug][side]["sha256"]
        assert described["methods"][slug]["settings"].items() >= options[slug].items()


def test_none_leaves_an_option_at_its_default(small, noise):
    assert explain(small, noise, method="smoothgrad", target=1, samples=None).settings["samples"] == 16
