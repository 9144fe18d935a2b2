"""What the page of maps says where methods have traces of their own."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

PAGE = """
from spade_core.pruning.options import BundleOptions
from spade_core.ui.common.panels import of_method, show_bundle, show_own

def traced(methods, sparsity, seed=0):
    told = dict(target=3, label="c", dense_probability=0.9, trace_probability=0.8, kl=0.1)
    fidelity = dict(**told, dense_top5=[(3, 0.9)], trace_top5=[(3, 0.8)])
    return {"methods": methods, "pruned": sparsity > 0, "seed": seed, "sparsity": sparsity, "fidelity": fidelity}

alone = [traced(["saliency", "lrp", "gradcam"], 0.5)]
older = [{name: value for name, value in alone[0].items() if name not in ("methods", "pruned")}]
own = [traced(["saliency", "lrp"], 0.5), traced(["gradcam"], 0.0)]
for traces in (alone, older, own):
    for slug in ("lrp", "gradcam"):
        show_own(of_method(traces, slug))
show_bundle(own, BundleOptions())
show_bundle([traced(["lrp"], 0.5), traced(["lrp"], 0.5, 1)], BundleOptions(traces=2))
show_bundle([traced([slug], 0.5, seed) for slug in ("lrp", "gradcam") for seed in (4, 5)], BundleOptions(traces=2))
"""


def test_a_methods_own_traces_are_told_where_not_all_share_one():
    app = AppTest.from_string(PAGE, default_timeout=60).run()
    assert not app.exception
    own, dense, kinds, bundle, again, bundles = [caption.value for caption in app.caption]
    assert "these maps come from 2 traces. " in kinds
    assert "these maps come from 2 bundles of traces. " in again
    assert (
        own == "By a trace of this method's own ratios: 50.0% of the weights removed, probability of the class 80.0%."
    )
    assert "no trace improves this method's map" in dense
    assert "of 2 traces, seeds 0 to 1; 2 of them keep the class" in bundle
    assert "of 2 traces, seeds 4 to 5; 4 of all 4 keep the class" in bundles
