"""The house: the order of the packages, arrows that go down only, and how large its rooms may grow.

Every import counts, wherever it stands: at a module's top, inside a function, or for types only.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "spade_core"

ORDER = [
    *(
        "errors",
        "compiler",
        "progress",
        "memory",
        "versions",
        "config",
        "roles",
        "isolation",
        "files",
        "cells",
        "citation",
    ),
    *(
        "pictures",
        "models",
        "pruning",
        "inspection",
        "saliency",
        "neurons",
        "trojan",
        "results",
        "notebook",
        "evaluation",
        "reports",
        "tuning",
        "gallery",
        "jobs",
    ),
    *("study.vocabulary", "study.stimuli", "study.design", "study.admission", "study.data", "study.running"),
    *("study.monitoring", "study.export", "study.analysis", "study.power"),
    *(
        "tasks",
        "cli",
        "ui.common",
        "ui.history",
        "ui.saliency",
        "ui.neurons",
        "ui.trace",
        "ui.folder",
        "ui.evidence",
        "ui.gallery",
        "ui.participant",
        "ui.study",
    ),
]
"""The rooms from the ground up: each may import those before it."""

FREE_OF_TORCH = (
    "study.vocabulary",
    "study.design",
    "study.admission",
    "study.data",
    "study.running",
    "study.monitoring",
    "study.export",
    "ui.common",
    "ui.participant",
)
"""What the process that serves the survey imports."""


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the package, parsed, by its dotted name below ``spade_core``."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if "versions" not in file.parts:  # migrations are history: numbered scripts that nothing imports
            name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
            found["" if name == "__init__" else name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def imported(tree: ast.Module) -> set[str]:
    """Return the package's modules that a module imports."""
    found = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert node.level == 0, "imports are written out"
        for name in names:
            if name.split(".")[0] != "spade_core":
                continue
            inner = name.removeprefix("spade_core").removeprefix(".")
            found.add(inner if inner in modules() else inner.rpartition(".")[0])
    return found


def room(module: str) -> str:
    """Return the room that a module lies in."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in ("study", "ui") else parts[0]


def test_every_room_has_its_place_in_the_order():
    rooms = {room(name) for name in modules() if name and name not in ("__main__", "study", "ui")}
    assert rooms == set(ORDER)


def test_arrows_go_down_only():
    places = {name: place for place, name in enumerate(ORDER)}
    upward = [
        f"{name} -> {other}"
        for name, tree in modules().items()
        if name and name != "__main__"
        for other in imported(tree)
        if other and other not in ("study", "ui") and places[room(other)] > places[room(name)]
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: imported(tree) - {name} for name, tree in modules().items() if name}
    try:
        TopologicalSorter({name: {other for other in others if other} for name, others in graph.items()}).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(reversed(circle.args[1])))


def top_names(tree: ast.Module) -> set[str]:
    """Return the first part of every import's name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_streamlit_is_known_to_the_user_interface_alone():
    assert [name for name, tree in modules().items() if "streamlit" in top_names(tree) and room(name)[:2] != "ui"] == []


def test_pages_import_the_user_interface_and_never_the_libraries_that_compute():
    for page in [ROOT / "app.py", ROOT / "home.py", *sorted((ROOT / "pages").glob("*.py"))]:
        assert not top_names(ast.parse(page.read_text(encoding="utf-8"))) & {"torch", "timm", "captum", "sqlalchemy"}


def test_the_process_that_serves_the_survey_imports_no_torch():
    names = [f"spade_core.{name}" for name in modules() if name and room(name) in FREE_OF_TORCH]
    names = [name for name in names if ".migrations" not in name]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'timm', 'captum', 'statsmodels'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]


def folders() -> dict[str, int]:
    return Counter(str(file.parent.relative_to(ROOT)) for file in PACKAGE.rglob("*.py") if file.name != "__init__.py")


def test_no_folder_is_crowded():
    assert {folder: count for folder, count in folders().items() if count > 14} == {}
    assert len([entry for entry in PACKAGE.iterdir() if entry.is_file()]) <= 14


def test_every_folder_says_what_it_is():
    silent = [name for name, tree in modules().items() if not ast.get_docstring(tree)]
    assert silent == []


def product() -> list[Path]:
    return [ROOT / "app.py", ROOT / "home.py", *(ROOT / "pages").glob("*.py"), *PACKAGE.rglob("*.py")]


def functions() -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node
        for file in product()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_functions_are_short():
    lines = sorted(lines_of(function) for function in functions())
    assert statistics.median(lines) <= 8
    assert lines[int(0.95 * len(lines))] <= 30


def test_types_reach_the_borders():
    """``Any`` in a signature stands where JSON, a parser or a browser's message enters or leaves, and nowhere else."""
    count = 0
    for function in functions():
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        notes = [argument.annotation for argument in named if argument is not None] + [function.returns]
        count += sum(note is not None and bool(re.search(r"\bAny\b", ast.unparse(note))) for note in notes)
    assert count <= 104


def test_linters_are_seldom_overruled():
    text = "\n".join(file.read_text(encoding="utf-8") for file in product())
    assert len(re.findall(r"#\s*(?:noqa|type: ignore)", text)) <= 40
    assert text.count("fmt: " + "skip") <= 10
