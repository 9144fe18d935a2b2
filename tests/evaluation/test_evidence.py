"""Finished runs: read back as they were written, refused where they are something else, and what is claimed of them."""

import hashlib
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spade_core.errors import ConfigError
from spade_core.evaluation import evidence as module
from spade_core.evaluation.evidence import Evidence, claims, published, shipped
from spade_core.evaluation.records import HEADER
from spade_core.models.registry import MODELS
from spade_core.pictures import splits
from spade_core.pruning import sparsity
from spade_core.saliency import METHODS
from tests.evaluation.conftest import written_run


@pytest.fixture
def run(tmp_path):
    return written_run(tmp_path)


@pytest.fixture
def folder(run, monkeypatch):
    shipped.cache_clear()
    module._claims.cache_clear()
    monkeypatch.setattr(module, "FOLDER", run.parent)
    yield run.parent
    shipped.cache_clear()
    module._claims.cache_clear()


def test_a_run_is_read_as_it_was_written(run):
    found = Evidence.of(run)
    expected = np.random.default_rng(0).uniform(50, 99, (6, 2, 2, 2, 3))
    assert np.array_equal(found.results.scores, expected)
    assert found.results.pictures[3] == ("3.png", "sha3", "heart")
    assert found.results.outcomes[..., 0].tolist() == [[1, 1]] * 6
    assert (found.model, found.statistics.pictures) == ("small", 6)
    paste = found.paste(3)
    assert paste.trigger == "heart"
    assert paste.seed != found.paste(2).seed


def changed(run, *, header=None, drop=None, rows=None):
    """Return the run's file with something else in it."""
    table = pq.read_table(run)
    told = json.loads(table.schema.metadata[HEADER.encode()])
    table = table.drop_columns([drop]) if drop else table
    table = table.slice(0, rows) if rows is not None else table
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({HEADER: json.dumps({**told, **(header or {})})}), out)
    return io.BytesIO(out.getvalue())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"header": {"arms": ["dense", "magic"]}}, "no arm 'magic'"),
        ({"header": {"benchmark": "none"}}, "no benchmark 'none'"),
        ({"header": {"seed": "x"}}, "no results.parquet"),
        ({"drop": "trojan_auc"}, "no results.parquet"),
        ({"rows": 47}, "no results.parquet"),
        ({"rows": 0}, "no results.parquet"),
    ],
)
def test_what_is_no_run_is_refused_by_name(run, change, said):
    with pytest.raises(ConfigError, match=said):
        Evidence.of(changed(run, **change))


def test_other_files_are_refused(tmp_path):
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), out)
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({HEADER: "[" * 100_000}), deep := io.BytesIO())
    for data in (b"", b"PAR1 no such thing", out.getvalue(), deep.getvalue()):
        with pytest.raises(ConfigError, match=r"no results\.parquet"):
            Evidence.of(io.BytesIO(data))
    with pytest.raises(ConfigError, match=r"no results\.parquet"):
        Evidence.of(tmp_path / "absent.parquet")


def test_claims_are_of_the_same_weights_and_the_default_trace_alone(folder):
    found = claims("weights", {"solver": "fastspade", "seed": 7})
    assert set(found) == {"saliency", "lrp"}
    raw, blurred = found["lrp"]
    statistics = next(iter(shipped().values())).statistics
    assert (raw.processing, blurred.processing) == ("raw", "blur2")
    assert raw.gain == statistics.removed("default", slice(1, 2), 0, 0)
    assert raw.holds == (raw.gain.low > 0)
    assert claims("weights", {"preset": "default"}) == found
    assert claims("weights", {"views": 8}) == {}
    assert claims("weights", {"preset": "weighted"}) == {}
    assert claims("others", {}) == {}
    assert set(claims("weights", {}, {"lrp": {"rule": "epsilon"}})) == {"saliency"}, "other steps were not measured"


@pytest.mark.parametrize(
    ("benchmark", "means"), [("trojan", [91.01, 94.34, 96.55, 91.50]), ("faithfulness", [33.56, 37.38, 37.44, 33.73])]
)
def test_the_papers_tables_have_the_papers_means(benchmark, means):
    paper = published(benchmark)
    assert set(paper["rows"]) <= set(METHODS)
    assert np.mean(list(paper["rows"].values()), 0) == pytest.approx(means, abs=0.011)
    assert len(paper["columns"]) == len(means)


def test_runs_of_a_table_that_is_no_longer_the_models_claim_nothing(folder):
    assert claims("weights", {})
    table = {"stages": {"head": 0.5}}
    assert claims("weights", {"preset": "default", "table": table}) == {}


@pytest.mark.parametrize(
    ("name", "pictures", "same", "measured"),
    [
        ("trojan", 300, (), "349ac27204a34a5e"),
        ("untriggered", 30, ("input_x_gradient", "gradcam"), "64bc2a219964eb7a"),
    ],
)
def test_what_is_shipped_is_of_todays_ratios(name, pictures, same, measured):
    """Whoever changes the table measures anew: what is shipped claims something of the model's default traces."""
    run = shipped()[name]
    methods = run.results.configuration.methods
    assert run.statistics.pictures == pictures
    assert claims(run.results.header["weights"], {}).keys() == set(methods) - set(same)
    tuned = sparsity.table(run.model)
    plan = {key: tuned[key] for key in ("stages", "depthwise", "options")}
    plan["methods"] = {slug: own for slug, own in tuned.get("methods", {}).items() if slug in methods}
    assert hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16] == measured


def test_what_is_shipped_is_of_registered_models_and_of_the_reporting_split_alone():
    assert published("sanity") is None
    assert set(shipped()) == {"trojan", "trojan_before", "untriggered", "untriggered_magnitudes"}
    for found in shipped().values():
        assert found.model in MODELS
        assert {name for name, *_ in found.results.pictures} <= set(splits._table()["reporting"])
