"""The versions that the tests run with: pinned, within the ranges that the program asks for, and those installed."""

from __future__ import annotations

import os
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def lines(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line.split("#")[0].strip() for line in text.splitlines() if line.split("#")[0].strip()]


def pins():
    return {canonicalize_name(one.name): one for one in map(Requirement, lines("requirements.lock"))}


def test_every_requirement_has_a_pin_within_its_range():
    pinned = pins()
    for file in sorted(ROOT.glob("requirements*.txt")):
        for line in lines(file.name):
            if line.startswith("-r"):
                continue
            asked = Requirement(line)
            (exact,) = pinned[canonicalize_name(asked.name)].specifier
            assert exact.operator == "=="
            assert asked.specifier.contains(exact.version.split("+")[0]), line


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="elsewhere newer versions may be installed")
def test_the_tests_run_with_these_versions():
    installed: dict[str, str] = {}
    for found in distributions():  # as imports find them: setuptools, once imported, adds its own copies behind
        installed.setdefault(canonicalize_name(found.metadata["Name"]), found.version)
    different = {}
    for name, pin in pins().items():
        (exact,) = pin.specifier
        if installed.get(name, exact.version) != exact.version:  # packages of weights are not needed here
            different[name] = (installed[name], exact.version)
    assert different == {}
