"""What ``pip install`` brings: a wheel, built and installed, and tried in an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from benchmarks.serving import free_port, stop_server

ROOT = Path(__file__).resolve().parent.parent
QUICK = ["--views", "2", "--solver", "magnitude", "--calibration", "independent", "--sparsity", "0.2"]


def pip(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built with what requirements-dev.txt has installed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


@pytest.fixture
def installed(site, tmp_path):
    """Start a command of the installation in an empty folder."""
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "SPADE_DEVICE": "cpu", "SPADE_JOBS": "inline"}

    def start(*command):
        return subprocess.Popen(
            command, cwd=empty, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def studio(site):
    return str(site / "bin" / "spade-studio")


def names_in(folder):
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}


@pytest.mark.long
def test_the_wheel_holds_all_that_is_needed_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    pages = {
        "app.py",
        "home.py",
        ".streamlit/config.toml",
        *(name for name in names_in("pages") if name.endswith(".py")),
    }
    code = {name for name in names_in("spade_core") if name.endswith(".py")}
    assert names == code | {f"spade_core/{name}" for name in names_in("assets")} | {
        f"spade_core/ui/app/{name}" for name in pages
    }
    asked = {line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()}
    asked |= {f"{line}; extra == 'cluster'" for line in (ROOT / "requirements-cluster.txt").read_text().splitlines()}
    needed = {line.removeprefix("Requires-Dist: ") for line in about.splitlines() if line.startswith("Requires-Dist")}
    needed = {name for name in needed if not name.endswith(("; extra == 'models'", "; extra == 'notebook'"))}
    assert {name.replace("_", "-") for name in needed} == {name.replace("_", "-") for name in asked if name}


LIBRARY = """
import json, os
from pathlib import Path
from streamlit.testing.v1 import AppTest
import spade_core as sc
from spade_core.config import APP

app = AppTest.from_file(APP.with_name("home.py"), default_timeout=60).run()
titles = [app.title[0].value, app.switch_page("pages/study.py").run().title[0].value]
pictures = [str(one.path) for one in sc.bundled().values()]
print(json.dumps({"place": sc.__file__, "pictures": pictures, "titles": titles}))
"""


@pytest.mark.long
def test_library_commands_and_pages_work_in_an_empty_folder(installed, site):
    looked = installed(sys.executable, "-c", LIBRARY)
    explained = installed(
        studio(site), "explain", "--image", "bundled:cat", "--method", "saliency", *QUICK, "--out", "out", "--json"
    )
    out, errors = looked.communicate(timeout=120)
    assert looked.returncode == 0, errors
    found = json.loads(out)
    assert Path(found["place"]).is_relative_to(site)
    assert len(found["pictures"]) == 12
    assert all(Path(path).is_file() and Path(path).is_relative_to(site) for path in found["pictures"])
    assert found["titles"] == ["See why a vision model decided", "Studies"]
    out, errors = explained.communicate(timeout=300)
    assert explained.returncode == 0, errors
    assert json.loads(out)["target"]["label"] == "tabby"


@pytest.mark.long
def test_the_pages_are_served_from_an_empty_folder(installed, site):
    port = free_port()
    server = installed(studio(site), "app", "--port", str(port), "--", "--server.baseUrlPath=studio")
    try:
        wait_for(f"http://127.0.0.1:{port}/studio/_stcore/health", server)
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/studio/").read().decode()
        assert "<title>" in page
        taken = installed(studio(site), "app", "--port", str(port))
        assert "port" in one_sentence(taken)
    finally:
        stop_server(server)
    assert server.returncode == 0


def wait_for(url, process):
    while True:
        try:
            assert urllib.request.urlopen(url, timeout=1).status == 200
            return
        except OSError:
            assert process.poll() is None, process.communicate()


def one_sentence(process):
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert len(errors.strip().splitlines()) == 1
    return errors


@pytest.mark.parametrize("options", [["--port", "70000"], ["--address", "203.0.113.1"], ["--address", "no such host"]])
def test_where_nothing_can_be_served_one_sentence_says_so(options, installed, site):
    assert options[1] in one_sentence(installed(studio(site), "app", *options))
