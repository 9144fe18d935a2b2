"""Tables tuned on a small network: the objective decides, a kill changes nothing, and what does not fit is said."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spade_core.errors import ConfigError
from spade_core.evaluation.protocols import PROTOCOLS
from spade_core.progress import Cancelled
from spade_core.pruning.report import Fidelity
from spade_core.pruning.trace import Trace
from spade_core.tuning import looks
from spade_core.tuning.space import space_of
from spade_core.tuning.tune import LOOKS, tune
from tests.tuning.conftest import quick

STAGES = ["pointwise", "grouped", "head"]  # of the small net, but for its first layer and the depthwise one


@pytest.fixture(scope="module")
def unbroken(small, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "table.json"
    return out, tune(small, folder, out, quick())


def ratios_of(prepared):
    """What the trace's layers were asked for; of the dense model 0."""
    ((network,),) = set(prepared.networks.values())
    rows = {row["name"]: row["requested"] for row in network.report.to_rows()} if isinstance(network, Trace) else {}
    return np.array([rows.get(stage, 0.0) for stage in STAGES])


def goal_of(method):
    return np.array([0.8, 0.5, 0.0] if method == "saliency" else [0.0, 0.5, 0.8])


@pytest.fixture
def stubbed(monkeypatch):
    """An objective that knows the best table of each method."""

    def score(case, prepared, progress):
        found = [
            -float(np.square(ratios_of(prepared) - goal_of(method)).sum()) for method in case.configuration.methods
        ]
        return np.array(found)[:, None, None] * np.ones(3)

    monkeypatch.setitem(PROTOCOLS, "faithfulness", score)


@pytest.fixture
def keeping(monkeypatch):
    """A function that sets how many pictures each table keeps the class on, by its ratios."""

    def keep(rule):
        prepare = looks.prepare

        def kept(arm, subject, *rest, **more):
            made = prepare(arm, subject, *rest, **more)
            good = rule(ratios_of(made), subject)
            monkeypatch.setattr(Fidelity, "keeps_class", property(lambda _: good))
            return made

        monkeypatch.setattr(looks, "prepare", kept)

    return keep


def test_the_objective_decides_for_each_method(small, folder, tmp_path, stubbed, keeping, untouched):
    keeping(lambda *_: True)
    with untouched(small):
        table = tune(small, folder, tmp_path / "t.json", quick())
    assert table["methods"] == {
        method: dict(zip(STAGES, goal_of(method), strict=True)) for method in ("saliency", "input_x_gradient")
    }
    assert table["stages"] == dict.fromkeys(STAGES, 0.5)  # of the mean of both
    told = table["provenance"]["scores"]["saliency"]
    assert told["chosen"] == {"score": 0.0, "kept": 1.0}
    assert told["dense"] == pytest.approx(-0.89)
    assert [step["stage"] for step in told["steps"]] == ["begin", "head", "grouped", "pointwise", "grouped", "head"]
    assert json.loads((tmp_path / "t.json").read_text()) == table


def test_a_table_that_loses_the_class_on_one_picture_of_three_is_refused(small, folder, tmp_path, stubbed, keeping):
    names = sorted(path.name for path in folder.iterdir())
    keeping(lambda ratios, subject: ratios.max() < 0.8 or subject.picture.name != names[0])
    table = tune(small, folder, tmp_path / "t.json", quick(methods=("saliency",)))
    assert table["methods"] == {"saliency": {"pointwise": 0.5, "grouped": 0.5, "head": 0.0}}


def test_dense_is_told_where_no_trace_beats_the_dense_map(small, folder, tmp_path, monkeypatch):
    def worse(case, prepared, progress):
        return np.full((len(case.configuration.methods), 1, 3), -ratios_of(prepared).sum())

    monkeypatch.setitem(PROTOCOLS, "faithfulness", worse)
    table = tune(small, folder, tmp_path / "t.json", quick(trace={**quick().trace, "sparsity": 0.5}))
    assert table["methods"] == {"saliency": "dense", "input_x_gradient": "dense"}
    assert table["stages"] == "dense"


def test_whole_tables_that_people_name_are_compared(small, folder, tmp_path, stubbed, keeping):
    keeping(lambda *_: True)
    begin = ({"pointwise": 0.8, "grouped": 0.5}, {"grouped": 0.5, "head": 0.9})
    table = tune(small, folder, tmp_path / "t.json", quick(begin=begin, sweeps=0))
    saliency = {"pointwise": 0.8, "grouped": 0.5, "head": 0.0}
    assert table["methods"] == {
        "saliency": saliency,
        "input_x_gradient": {"pointwise": 0.0, "grouped": 0.5, "head": 0.9},
    }
    assert table["provenance"]["looks"] == 3
    with pytest.raises(ConfigError, match="has no stage 'tail' to tune: take one of pointwise, grouped, head"):
        tune(small, folder, tmp_path / "other.json", quick(begin=({"tail": 0.5},)))


@pytest.mark.parametrize("average", ["magnitude", "signed"])
def test_maps_of_several_traces_are_judged_as_they_are_made(small, folder, tmp_path, monkeypatch, average):
    judged = []

    def score(case, prepared, progress):
        networks = prepared.networks["input_x_gradient"]
        judged.append((len(networks), isinstance(networks[0], Trace)))
        assert (next(prepared.maps("input_x_gradient", ["raw"])).min() < 0) == (
            average == "signed"
        )  # the dense map's too
        return np.full((1, 1, 3), float(len(judged)))

    monkeypatch.setitem(PROTOCOLS, "faithfulness", score)
    asked = quick(methods=("input_x_gradient",), sweeps=0, begin=({"head": 0.8},), traces=2, average=average)
    assert quick(average="signed") == quick()  # of a single trace there is no mean
    table = tune(small, folder, tmp_path / "t.json", asked)
    assert set(judged) == {(1, False), (2, True)}
    assert f"each map the mean of 2 traces', {average}" in table["chosen"]
    assert (table["provenance"]["traces"], table["provenance"]["average"]) == (2, average)
    with pytest.raises(ConfigError, match="of other settings"):
        tune(small, folder, tmp_path / "t.json", replace(asked, traces=1))


@pytest.mark.parametrize(
    "wrong",
    [{"sweeps": 10}, {"sweeps": -1}, {"begin": ({"head": 2},)}, {"traces": 4}, {"traces": 2, "average": "none"}],
)
def test_what_cannot_be_searched_is_refused(wrong):
    with pytest.raises(ConfigError):
        quick(**wrong)


def test_nothing_is_measured_twice(small, folder, tmp_path, stubbed, monkeypatch):
    seen = []
    prepare = looks.prepare

    def counting(arm, subject, *rest, **more):
        seen.append((subject.picture.name, arm.slug, json.dumps(dict(arm.trace or {}))))
        return prepare(arm, subject, *rest, **more)

    monkeypatch.setattr(looks, "prepare", counting)
    tune(small, folder, tmp_path / "t.json", quick(methods=("saliency",)))
    assert len(seen) == len(set(seen))
    seen.clear()
    table = tune(small, folder, tmp_path / "two.json", quick())
    first = [one for one in seen if one[0] == "0.png"]
    assert [one[1] for one in seen].count("dense") == 3  # once a picture, for all methods
    assert len(set(first)) == table["provenance"]["looks"]
    seen.clear()
    tune(small, folder, tmp_path / "two.json", quick())
    assert seen == []


def stopping(fraction, stop):
    def progress(done, total, note):
        if done / total >= fraction:
            stop()

    return progress


def killed(model, folder, out, fraction):
    """Tune in a process of its own that gets SIGKILL in the middle of a look."""

    def work():
        tune(model, folder, out, quick(), progress=stopping(fraction, lambda: os.kill(os.getpid(), signal.SIGKILL)))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.long
def test_killed_twice_and_resumed_equals_unbroken_byte_for_byte(small, folder, tmp_path, unbroken):
    out, lines = tmp_path / "table.json", []
    for fraction in (0.3, 0.6):
        killed(small, folder, out, fraction)
        journal = out.with_suffix(LOOKS)
        lines.append(len(journal.read_bytes().splitlines()))
        journal.write_bytes(journal.read_bytes() + b'{"key": "torn')
        assert not out.exists()
    assert 1 < lines[0] < lines[1] < len(unbroken[0].with_suffix(LOOKS).read_bytes().splitlines())
    assert tune(small, folder, out, quick()) == unbroken[1]
    assert out.read_bytes() == unbroken[0].read_bytes()


def test_a_cancelled_search_keeps_what_it_has_and_leaves_the_model_alone(small, folder, tmp_path, stubbed, untouched):
    def cancel():
        raise Cancelled

    with untouched(small), pytest.raises(Cancelled):
        tune(small, folder, tmp_path / "t.json", quick(), progress=stopping(0.5, cancel))
    assert os.listdir(tmp_path) == ["t" + LOOKS]


def test_progress_rises_to_its_end_and_begins_anew_where_a_search_goes_on(small, folder, tmp_path, stubbed):
    def cancel():
        raise Cancelled

    with pytest.raises(Cancelled):
        tune(small, folder, tmp_path / "t.json", quick(), progress=stopping(0.5, cancel))
    told = []
    tune(small, folder, tmp_path / "t.json", quick(), progress=lambda done, total, note: told.append(done / total))
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)


def test_the_table_says_where_it_comes_from(small, unbroken, folder):
    told = unbroken[1]["provenance"]
    assert told["weights"] == small.sha256
    assert (told["objective"], told["split"], told["seed"], told["processing"]) == (
        "insertion-deletion",
        "tuning",
        0,
        "raw",
    )
    assert len(told["pictures_sha256"]) == 64
    assert told["pictures"] == 3
    assert told["version"]
    assert "95% of the pictures: 3 of the tuning split" in unbroken[1]["chosen"]
    for scores in told["scores"].values():
        assert scores["chosen"]["score"] >= scores["dense"]


def test_a_search_begins_at_the_preset_where_that_has_a_ratio_a_stage(small):
    assert space_of(small, quick()).begin == ()  # no table, so the preset searches
    assert space_of(small, quick(trace={"preset": "weighted"})).begin == ((0.8, 0.8, 0.8),)
    assert space_of(small, quick(trace={"preset": "weighted", "views": 8})).options["views"] == 8
    assert space_of(small, quick(trace={"preset": "weighted"})).options["refit"] == 6.0
    assert space_of(small, quick(trace={"stages": {"head": 0.3}})).begin == ((0.0, 0.0, 0.3),)
    assert space_of(small, quick(trace={"first_layer": True})).stages[0] == "stem"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objective": "none"}, "no objective 'none'"),
        ({"ratios": ()}, "no candidate ratio"),
        ({"ratios": (2,)}, "candidate ratio must be"),
        ({"methods": ("none",)}, "no method 'none'"),
        ({"processing": "none"}, "no processing 'none'"),
        ({"trace": {"sparsity": 2}}, "sparsity must be"),
        ({"split": "reporting"}, "can no longer be reported"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"seed": 1}, "seed was 0"),
        ({"objective": "trojan-auc"}, "objective was"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(small, folder, unbroken, change, said):
    where = {name: change.pop(name) for name in ("split", "limit") if name in change}
    before = unbroken[0].read_bytes()
    with pytest.raises(ConfigError, match=said):
        tune(small, folder, unbroken[0], quick(**change), **where)
    assert unbroken[0].read_bytes() == before


def test_nobody_elses_file_is_overwritten(small, folder, tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    for out in (tmp_path, tmp_path / "mine.json"):
        with pytest.raises(ConfigError, match="give another --out"):
            tune(small, folder, out, quick())
    with pytest.raises(ConfigError, match="cannot be written"):
        tune(small, folder, Path("/proc/none/t.json"), quick())
    with pytest.raises(ConfigError, match="No picture counts, give others: the trigger did not cause"):
        tune(small, folder, tmp_path / "t.json", quick(objective="trojan-auc"))
