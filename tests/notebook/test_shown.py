"""Results that show themselves in a notebook, and the document that says how."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import spade_core as sc
from spade_core.neurons import Neuron
from spade_core.saliency import METHODS, top_of

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    plt.close("all")


def test_results_show_themselves_and_strangers_words_are_text(analysis, drawing, visualization):
    pair = analysis.pairs["saliency"]
    for result in (analysis, analysis.trace, pair, pair.spade, drawing, visualization):
        shown = result._repr_html_()
        assert "&lt;script&gt;" in shown
        assert "<script" not in shown
        assert len(re.findall("<img ", shown)) == len(re.findall('<img src="data:image/png[^>]* alt="[^"]+"', shown))


def test_a_trace_says_what_it_kept_layer_by_layer(analysis):
    trace = analysis.trace
    shown = trace._repr_html_()
    assert f"{trace.sparsity:.1%}" in shown
    for row in trace.report.layers:
        assert f">{row.name}</td>" in shown
    axes = trace.plot()
    assert [bar.get_height() for bar in axes.patches] == [row.realised for row in trace.report.layers]


@pytest.mark.parametrize("slug", ["saliency", "input_x_gradient"])
def test_a_map_is_drawn_in_its_own_unit_on_the_axes_that_are_given(analysis, slug):
    found = analysis.pairs[slug].spade
    _, given = plt.subplots()
    axes = found.plot(given)
    assert axes is given
    (image,) = axes.images
    assert np.array_equal(image.get_array(), found.map / top_of(found.map))
    assert image.get_clim() == ((-1, 1) if METHODS[slug].signed else (0, 1))
    assert (image.to_rgba(image.get_array(), bytes=True)[..., :3].astype(int) - found.pixels).max() <= 1


def test_a_drawing_is_drawn_and_a_title_is_no_formula(drawing):
    axes = replace(drawing, neuron=Neuron("$layer_", 3)).plot()
    assert np.array_equal(axes.images[0].get_array(), drawing.image)
    axes.figure.savefig("/dev/null", format="png")


def test_the_documents_code_runs(small, monkeypatch):
    """By a small network: what the lines do with the real one is tested by its own tests."""
    pytest.importorskip("anywidget", reason="not installed: pip install -r requirements-notebook.txt")
    monkeypatch.setattr(sc, "load_model", lambda name: small if name == "efficientnet_lite0" else None)
    text = (ROOT / "docs/notebook.md").read_text(encoding="utf-8")
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, "docs/notebook.md", "exec"), names)
    assert (names["viewer"].method, names["viewer"].divider) == ("integrated_gradients", 30)


def test_none_of_it_is_imported_before_it_is_asked_for():
    code = "import json, sys, spade_core; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"anywidget", "matplotlib", "IPython", "plotly", "torch"} & set(json.loads(done.stdout))
