"""The README's example runs as it stands, and its tables are those of the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from spade_core.cli import build_parser
from spade_core.config import Settings

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_library_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["spade"].map.shape == (224, 224)
    assert names["probabilities"].shape == (1000,)
    assert "% of the weights removed" in capsys.readouterr().out


def test_every_setting_is_documented():
    for item in fields(Settings):
        assert f"`{item.metadata['variable']}`" in README


def test_every_command_of_the_readme_parses():
    lines = re.findall(r"python -m spade_core (.*)", README)
    assert len(lines) >= 6
    for line in lines:
        build_parser().parse_args(line.split())
