"""The README's example runs as it stands, and what it and the documents name is there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from spade_core.cli import build_parser
from spade_core.config import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.long
def test_the_library_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", TEXTS["README.md"], re.DOTALL)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["spade"].map.shape == (224, 224)
    assert names["probabilities"].shape == (1000,)
    assert "% of the weights removed" in capsys.readouterr().out


def test_every_setting_is_documented():
    for item in fields(Settings):
        variable = item.metadata["variable"] or f"SPADE_{item.name.upper()}"
        assert f"`{variable}`" in TEXTS["docs/deployment.md"]


@pytest.mark.parametrize(("page", "least"), [("README.md", 6), ("docs/command-line.md", 25)])
def test_every_command_parses(page, least):
    lines = re.findall(r"^\.venv/bin/python -m spade_core (.*)", TEXTS[page], re.MULTILINE)
    assert len(lines) >= least
    for line in lines:
        build_parser().parse_args(line.split())


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", TEXTS[page]):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_are_named_are_there(page):
    """A path in backquotes with a folder of the repository in it exists."""
    for name in re.findall(r"`((?:spade_core|pages|assets|benchmarks|docs|tests)/[\w./-]+)`", TEXTS[page]):
        assert (ROOT / name).exists(), name
