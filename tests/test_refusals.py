"""Every refusal is two sentences at most and says what to do next: read from the source."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

from spade_core import errors

PACKAGE = Path(errors.__file__).parent
ERRORS = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SpadeError)}
WHAT_TO_DO = re.compile(
    r"\b(add|ask|check|choose|collect|confirm|connect|copy|correct|crop|delete|did you mean|explain|export|give|go on"
    r"|install|keep|leave|let|lists|load|make|may mean|must|name|only|open|pack|put|raise|reinstall|reload|remove|run"
    r"|save|scale|send|set|show|shows|take|try|type|unpack|update|upload|use|wait|wrap|write)\b",
    re.IGNORECASE,
)
END = re.compile(r"[.!?](?=\s+[A-Z“{])")  # of a sentence that another one follows
UNKNOWN = "{}"
HANDED_ON = ("{}", "{}: {}{}", "The {} {}, not {}.", "The link cannot be followed: {}")
"""Texts that hand on a sentence of another place."""
DONE = {
    "Cancelled.",
    "This participation was deleted.",
    "This study is a draft, in which nobody has taken part: there is nothing to unblind.",
    "This study takes no new participants at the moment. Thank you for your interest.",
}
"""States in which nothing is left to do."""


def sources():
    return sorted(PACKAGE.rglob("*.py"))


@cache
def tree(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def said(node, named, depth=3):
    """Return the text of an expression; what is only known when it is raised is a pair of braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(said(one, named, depth) for one in node.values)
    if isinstance(node, ast.FormattedValue):
        return said(node.value, named, depth)
    if isinstance(node, ast.BinOp):
        return said(node.left, named, depth) + said(node.right, named, depth)
    if isinstance(node, ast.IfExp):
        return said(node.body, named, depth)
    name = node.func if isinstance(node, ast.Call) else node
    found = named.get(getattr(name, "id", getattr(name, "attr", "")), []) if depth else []
    return said(found[0], named, depth - 1) if found else UNKNOWN


def elements(node):
    return node.elts if isinstance(node, ast.Tuple) else [node]


def texts_by_name(file):
    """Return what names of a file stand for: texts that are given to them, and what functions return."""
    found = {}
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Assign):
            places, values = elements(node.targets[0]), elements(node.value)
            for place, value in zip(places, values if len(values) == len(places) else [], strict=False):
                found.setdefault(getattr(place, "id", ""), []).append(value)
        if isinstance(node, ast.FunctionDef):
            returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None]
            found.setdefault(node.name, []).extend(returned)
    return found


def refusals():
    shared = {}
    for file in sources():
        shared |= {name: nodes for name, nodes in texts_by_name(file).items() if name.isupper()}
    for file in sources():
        named = shared | texts_by_name(file)
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and node.args:
                yield f"{file.relative_to(PACKAGE)}:{node.lineno}", said(node.args[0], named)


def faults(text):
    sentences = len(END.findall(text)) + 1
    few = [] if sentences <= 2 else [f"{sentences} sentences"]
    return few + ([] if WHAT_TO_DO.search(text) else ["it does not say what to do"])


def test_every_refusal_says_in_two_sentences_what_to_do():
    found = list(refusals())
    assert len(found) > 400
    assert {text for _, text in found} >= DONE
    told = {place: text for place, text in found if text not in DONE.union(HANDED_ON)}
    assert not {place: (text, *faults(text)) for place, text in told.items() if faults(text)}


def test_the_rules_of_numbers_say_what_they_must_be():
    calls = [node for file in sources() for node in ast.walk(tree(file)) if isinstance(node, ast.Call)]
    kinds = [call for call in calls if getattr(call.func, "id", "") in ("Number", "Whole")]
    rules = [said(rule, {}) for call in kinds for rule in (*call.args[3:], *(one.value for one in call.keywords))]
    assert len(rules) > 5
    assert not [rule for rule in rules if rule != UNKNOWN and not rule.startswith("must ")]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("This is no picture.", ["it does not say what to do"]),
        ("This is no picture: choose a PNG file.", []),
        ("It is not there. It never was. Take another.", ["3 sentences"]),
    ],
)
def test_the_test_notices(text, wrong):
    assert faults(text) == wrong
