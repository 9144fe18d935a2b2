"""What commands and pages import: help and pages never wait for torch, and what is named lazily is there."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

from spade_core import tasks
from spade_core.cli import build_parser
from spade_core.models.registry import MODELS
from spade_core.neurons import RANKINGS
from spade_core.pruning.solvers import SOLVERS
from spade_core.saliency import METHODS
from spade_core.tasks import HOMES

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = {"torch", "torchvision", "timm", "captum", "lucent"}
STATISTICS = {"pandas", "scipy", "statsmodels", "sklearn", "skimage", "matplotlib"}
PAGES = f"""
import spade_core.jobs.manager as jobs
from streamlit.testing.v1 import AppTest

class Manager(jobs.JobManager):
    def __init__(self, settings, *, sessions):
        super().__init__(settings, tasks="tests.page_tasks", sessions=sessions)

jobs.JobManager = Manager

def run(page, **query):
    app = AppTest.from_file({str(ROOT / "home.py")!r}, default_timeout=60).run()
    if page != "home.py":
        app.switch_page(page)
        app.query_params.update(query)
        app.run()
    assert not app.exception and not app.error, (page, app.exception, app.error)
    assert app.title or page == "pages/survey.py"
    return app

"""


def imported(*arguments):
    """Return the libraries that a Python process imports, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SPADE_JOBS": "worker"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = re.findall(r"^import time: +\d+ \| +\d+ \| +(\w+)", done.stderr, re.MULTILINE)
    return set(names), done.stdout


@pytest.mark.parametrize("arguments", [[], ["explain"], ["study", "power"]])
def test_help_loads_nothing_that_takes_time(arguments):
    found, text = imported("-m", "spade_core", *arguments, "--help")
    assert not found & {*NETWORKS, *STATISTICS, "streamlit", "sqlalchemy", "pydantic", "numpy", "PIL"}
    assert "usage: python -m spade_core" in text


@pytest.mark.parametrize("command", ["models", "pictures", "methods"])
def test_lists_load_no_network(command):
    found, text = imported("-m", "spade_core", command)
    assert found & (NETWORKS | STATISTICS) == set()
    assert len(text.splitlines()) > 6


def test_following_a_study_loads_no_network():
    found, text = imported("-m", "spade_core", "study", "build", "--demo")
    assert found & (NETWORKS | STATISTICS) == set()
    key = text.split()[1]
    found, text = imported("-m", "spade_core", "study", "status", key)
    assert found & (NETWORKS | STATISTICS) == set()
    assert "status" in text


def test_the_survey_loads_neither_networks_nor_statistics():
    _, text = imported("-m", "spade_core", "study", "build", "--demo")
    found, _ = imported("-c", PAGES + f"assert run('pages/survey.py', study={text.split()[1]!r}).button")
    assert "streamlit" in found
    assert found & (NETWORKS | STATISTICS) == set()


def test_no_page_loads_a_network():
    """The workers of this test compute nothing, but answer as those do that load networks."""
    link = {"trigger": "heart:40:24x24:0", "preset": "custom", "stages": "blocks.0:0.5", "calibration": "sequential"}
    code = "".join(f"run('pages/{name}.py', **{link})\n" for name in ("saliency", "neurons", "trace"))
    found, _ = imported("-c", PAGES + "run('home.py')\nrun('pages/study.py')\n" + code)
    assert "streamlit" in found
    assert found & NETWORKS == set()


def test_a_worker_that_starts_loads_what_maps_need_and_no_more():
    found, _ = imported("-c", "import spade_core.tasks as tasks; tasks.warm_up('cpu')")
    assert found >= {"torch", "timm"}
    assert found & {"lucent", "kornia", "pandas", "sklearn", "skimage", "streamlit", "sqlalchemy"} == set()


def test_every_kind_of_job_is_there():
    assert len(HOMES) > 10
    for kind, home in HOMES.items():
        assert getattr(tasks, kind) is resolve_name(f"{home}:{kind}")
    with pytest.raises(AttributeError, match="nobody"):
        tasks.nobody  # noqa: B018 - looking it up is the deed


def commands(parser):
    """Yield who runs each command."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for child in action.choices.values():
            yield from commands(child)
    if not inner:
        yield parser.get_default("run")


def test_every_command_has_somebody_who_runs_it():
    homes = list(commands(build_parser()))
    assert len(homes) > 30
    for home in homes:
        assert callable(resolve_name(f"spade_core.cli.{home}")), home


def test_every_table_names_what_is_there():
    for method in METHODS.values():
        assert callable(resolve_name(f"spade_core.saliency.{method.module}:{method.slug}"))
    for solver in SOLVERS.values():
        assert callable(resolve_name(f"spade_core.pruning.solvers.{solver.module}:prune"))
    for ranking in RANKINGS.values():
        assert callable(resolve_name(f"spade_core.neurons.ranking:{ranking.slug}"))
    for entry in MODELS.values():
        assert callable(resolve_name(entry.architecture))
        assert not entry.offline or callable(resolve_name(entry.weights))
