"""Which sources a kept result depends on: those that can change it, and no others."""

from __future__ import annotations

import ast
import importlib
import shutil
from functools import cache

import pytest

from spade_core import versions
from spade_core.tasks import analysis, study_power

MAPS = ("analysis", "describe", "inspect", "compare", "curve", "visualization", "multifaceted", "ranking", "references")
STUDIES = ("study_power", "study_dry_run", "study_bots")


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library's sources that may be edited."""
    root = tmp_path / "spade_core"
    shutil.copytree(versions._ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(versions, "_ROOT", root)
    # Kept by its text, which is all that it depends on: a few of the hundreds of files are edited.
    monkeypatch.setattr(versions, "_imported_by", lambda file: imported_by(file.read_bytes()))
    yield root
    forget()


@cache
def imported_by(source):
    return versions._imports(ast.parse(source))


def forget():
    for cached in (versions.code_version, versions.task_version):
        cached.cache_clear()


def versions_now():
    forget()
    return {kind: versions.task_version(kind) for kind in (*MAPS, *STUDIES)}


def changed_by(*files):
    before = versions_now()
    for file in files:
        file.write_bytes(file.read_bytes() + b"# another wording\n")
    after = versions_now()
    return {kind for kind in before if before[kind] != after[kind]}


@pytest.mark.parametrize("folder", ["ui", "cli", "jobs"])
def test_pages_commands_and_the_queue_change_no_result(library, folder):
    assert changed_by(*(library / folder).rglob("*.py")) == set()


def test_the_study_changes_no_map(library):
    assert changed_by(*(library / "study").rglob("*.py")) == set(STUDIES)


def test_a_solver_changes_the_maps_and_not_the_power(library):
    changed = changed_by(library / "pruning" / "solvers" / "obs.py")
    assert set(MAPS) <= changed
    assert not changed & {"study_power", "study_bots"}


@pytest.mark.parametrize("file", ["saliency/gradients.py", "models/canonical/attention.py", "tasks/common.py"])
def test_what_the_maps_compute_with_changes_them(library, file):
    assert set(MAPS) <= changed_by(library / file)


def test_each_kind_of_study_job_has_its_own_sources(library):
    assert changed_by(library / "study" / "power" / "assumed.py") == {"study_power"}
    assert changed_by(library / "study" / "running" / "bots.py") == {"study_dry_run", "study_bots"}
    assert changed_by(library / "tasks" / "study.py") == set(STUDIES)


def test_the_version_of_a_manifest_is_that_of_the_whole_library_without_pages(library):
    def found():
        forget()
        return versions.code_version()

    first = found()
    assert len(first) == 64
    (library / "ui" / "common" / "frame.py").write_bytes(b"")
    assert found() == first
    (library / "cli" / "__init__.py").write_bytes(b"")
    assert found() != first


def test_a_kind_that_is_not_there_counts_with_the_whole_library(library):
    assert versions.task_version("no such kind") == versions.code_version()


def test_every_kind_is_found_where_it_is(library):
    home = importlib.import_module(analysis.__module__)
    assert home.__file__.endswith("tasks/saliency.py")
    assert study_power.__module__ == "spade_core.tasks.study"
    assert len(set(versions_now().values())) >= 6
    assert versions.code_version() not in versions_now().values()
