"""Export, blinding, evaluation and bots, on both engines."""

from __future__ import annotations

import io
import json
import zipfile

import pandas as pd
import pytest

from spade_core.errors import ConfigError
from spade_core.study.admission.devices import Device
from spade_core.study.analysis.evaluation import evaluate, report_text
from spade_core.study.data.studies import is_blind, opened, publish, unblind
from spade_core.study.data.versions import edit
from spade_core.study.export.codebook import BLINDED, CODEBOOK, CODEBOOKS
from spade_core.study.export.export import TABLES, bundle, export, trial_table, write
from spade_core.study.monitoring.checks import rules_only
from spade_core.study.monitoring.people import exclude
from spade_core.study.monitoring.status import status_of
from spade_core.study.running import person
from spade_core.study.running.bots import POLICIES, simulate
from spade_core.study.running.standing import turn_page
from spade_core.study.vocabulary import PHASES
from tests.study.conftest import FEW, real_design
from tests.study.running.test_flow import answer_of, flow, in_main, submit


@pytest.fixture
def key(store, stimuli):
    """Return the key of a study that takes few answers."""
    return publish(store, real_design(**FEW), stimuli)


def finished(store, key, **options):
    """Let one person answer everything, right."""
    who = in_main(store, key, **options)
    while (trial := flow.current_trial(store, who)) is not None:
        submit(store, who, answer_of(trial, trial.required or trial.reference_side, focus_losses=[3, 9]))
    return flow.finish_study(store, who)


def test_an_export_has_every_answer_and_the_columns_of_the_codebook(store, key):
    simulate(store, key, 6, "ideal", seed=0)
    table = trial_table(store, key)
    assert list(table.columns) == list(CODEBOOK)
    design = opened(store, key).design
    each = design.practice + design.trials + design.catch + design.repeats + design.attention
    assert len(table) == 6 * each
    assert set(table["simulated"]) == {"SIMULATED"}
    assert table[table["trial_type"] == "main"]["correct"].eq(1).all()
    assert table["trial_id"].is_unique


def test_people_blind_a_study_until_it_is_unblinded_and_bots_alone_do_not(store, key):
    simulate(store, key, 2, "random", seed=0)
    assert not is_blind(store, opened(store, key))
    finished(store, key)
    assert is_blind(store, opened(store, key))
    assert not set(BLINDED) & set(trial_table(store, key).columns)
    assert "model_id" in BLINDED, "in a set of two models it tells which pictures have a trigger"
    with pytest.raises(ConfigError, match="--unblind"):
        evaluate(store, key)
    unblind(store, key, by="test", interim="a test")
    assert set(BLINDED) <= set(trial_table(store, key).columns)
    result = evaluate(store, key).result
    assert not result.simulated
    assert result.participants == 1


def test_a_shareable_export_has_fresh_numbers_and_relative_times(store, key):
    who = finished(store, key, external_id="PROLIFIC123")
    unblind(store, key, by="test", interim="a test")
    store.clock.now += 50
    data = export(store, key, "csv", shareable=True).data.decode()
    assert who.row.uid not in data
    assert "PROLIFIC123" not in data
    assert who.row.seed not in data
    table = trial_table(store, key, shareable=True)
    assert set(table["participant_uid"]) == {"p0001"}
    assert table["submitted_utc"].between(0, 10).all()
    repeats = table[table["trial_type"] == "repeat"]
    assert set(repeats["repeat_of"]) <= set(table["trial_id"])


def test_a_shareable_export_names_the_rules_without_the_experimenters_words(store, key):
    who = finished(store, key)
    exclude(store, key, who.row.uid, "told me that she; experimenter: knows Ada")
    raw, shareable = (trial_table(store, key, shareable=way) for way in (False, True))
    assert raw["exclusion_reason"].str.endswith("knows Ada").all()
    assert set(shareable["exclusion_reason"]) == {"experimenter"}
    assert rules_only("catch; too_fast; experimenter: Ada") == "catch; too_fast; experimenter"
    assert rules_only("catch; too_fast") == "catch; too_fast"


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_formats_hold_the_same_rows(store, key, form):
    simulate(store, key, 1, "rater", seed=0)
    table = trial_table(store, key)
    data = write(table, form, CODEBOOK)
    if form == "json":
        found = json.loads(data)
        assert set(found["codebook"]) == set(CODEBOOK)
        rows = pd.DataFrame(found["rows"])
    else:
        rows = pd.read_csv(io.BytesIO(data)) if form == "csv" else pd.read_parquet(io.BytesIO(data))
    assert rows["trial_id"].tolist() == table["trial_id"].tolist()
    assert rows["rt_ms"].to_numpy() == pytest.approx(table["rt_ms"].to_numpy())


def test_a_spreadsheet_takes_no_text_for_a_formula():
    table = pd.DataFrame({"policy": ["=1+1", "@x", "two\nlines", None], "is_bot": [True, False, True, False]})
    lines = write(table, "csv", CODEBOOK).decode().splitlines()
    assert lines == ["policy,is_bot", "'=1+1,1", "'@x,0", "two lines,1", ",0"]


@pytest.mark.one_engine
def test_every_policy_goes_its_way_and_shows_what_it_is(store, key):
    for policy in POLICIES:
        simulate(store, key, 2, policy, seed=3)
    table = trial_table(store, key)
    main = table[table["trial_type"] == "main"]
    of = {policy: main[main["policy"] == policy] for policy in POLICIES}
    assert of["ideal"]["correct"].eq(1).all()
    assert set(of["always-left"]["choice"]) == {"region_1"}
    assert of["fast-clicker"]["rt_ms"].max() < 600
    assert of["undecided-shifter"]["choice"].eq("cannot_tell").any()
    spade = of["rater"][of["rater"]["condition"] == "spade"]
    assert spade["correct"].eq(1).all()
    assert not table["trial_id"].duplicated().any()
    reasons = table.groupby("policy")["exclusion_reason"].first()
    assert not reasons["ideal"]
    found = evaluate(store, key)
    assert found.result.simulated
    assert found.result.verdict.startswith("SIMULATED")
    text = report_text(store, key, found)
    study = opened(store, key)
    assert f"saved version 1 of the design (SHA-256 {study.row.design_sha256})" in text
    assert f"SHA-256 {study.design.consent_sha256}" in text
    assert "| SIMULATED SPADE |" in text
    assert "SIMULATED: the answers come from bots" in text
    assert status_of(store, key)["people"] == {}


@pytest.mark.one_engine
def test_a_simulation_repeats_from_its_seed_and_refuses_nonsense(store, key):
    simulate(store, key, 3, "random", seed=5)
    simulate(store, key, 3, "random", seed=6)
    table = trial_table(store, key)
    by_person = [list(part["choice"]) for _, part in table.groupby("participant_uid", sort=False)]
    assert len({tuple(choices) for choices in by_person}) == 6
    with pytest.raises(ConfigError, match="no policy"):
        simulate(store, key, 1, "genius", seed=0)
    with pytest.raises(ConfigError, match="at least 1"):
        simulate(store, key, 0, "random", seed=0)


def rows_of(store, key, table, **options):
    """Return a table's rows as its JSON export has them."""
    found = json.loads(export(store, key, "json", table, **options).data)
    assert [set(row) for row in found["rows"]] == [set(found["codebook"])] * len(found["rows"])
    return found["rows"]


def with_all_sorts(store, key):
    """Let one person finish, one decline and one leave; return the one who finished."""
    who = finished(store, key, external_id="PROLIFIC123")
    submit(store, who, {"trial_id": "from outside", "choice": "region_1"})
    flow.consent(store, ready(store, key), given=False)
    in_main(store, key)
    store.clock.now += 7200
    return who


def ready(store, key):
    """Return somebody who is asked for consent."""
    who = person.person(store, key, person.enter(store, key).token)
    return flow.check_device(store, who, width=1200, device=Device(browser="Firefox"))


def test_every_table_has_the_columns_of_its_codebook_in_every_format(store, key):
    simulate(store, key, 2, "random", seed=0)
    assert set(TABLES) == set(CODEBOOKS) == {"trials", "participants", "events", "pages"}
    for table in TABLES:
        csv, parquet = (export(store, key, form, table) for form in ("csv", "parquet"))
        columns = list(pd.read_csv(io.BytesIO(csv.data)).columns)
        assert columns == list(pd.read_parquet(io.BytesIO(parquet.data)).columns) == list(CODEBOOKS[table])
        for made in (csv, parquet):
            assert list(json.loads(made.codebook)["codebook"]) == columns
        assert export(store, key, "json", table).codebook is None
    with pytest.raises(ConfigError, match="no table"):
        export(store, key, "csv", "names")


def test_the_participants_table_has_everybody_and_how_far_they_came(store, key):
    edit(store, key, real_design(contact="somebody else"))  # its author left the version as it was
    with_all_sorts(store, key)
    rows = {row["status"]: row for row in rows_of(store, key, "participants")}
    assert set(rows) == {"complete", "declined", "left"}
    done, declined, left = rows["complete"], rows["declined"], rows["left"]
    assert (done["code_kind"], declined["code_kind"], left["code_kind"]) == ("complete", "declined", None)
    assert declined["consented_utc"] is None
    assert json.loads(declined["device"]) == {"browser": "Firefox", "width": 1200}
    design = opened(store, key).design
    for kind, count in (("main", design.trials), ("catch", design.catch), ("repeat", design.repeats)):
        assert (done[f"n_{kind}"], left[f"n_{kind}"]) == (count, 0)
    assert done["n_focus_losses"] == 2 * (design.trials + design.catch + design.repeats + design.attention)
    assert done["practice_rounds"] == 1
    assert done["total_s"] >= done["instruction_s"] >= 0
    assert done["design_sha256"] == design.sha256
    assert (done["study_version"], done["design_version"]) == (1, 2)
    assert (done["consent_study_version"], done["consent_design_version"]) == (1, 2)
    assert declined["consent_design_version"] is None
    checks = json.loads(done["checks"])
    assert checks["catch"] == {"passed": True, "right": 2, "of": 2}
    assert checks["practice_rounds"] == {"passed": True, "rounds": 1, "never_passed": False}
    assert checks["total_time"] == {"passed": False, "minutes": 0}, "the tests' clock stands still"
    assert (done["check_catch"], done["check_total_time"], left["check_total_time"]) == (1, 0, None)
    assert done["included"] == 1, "rules that the design does not name exclude nobody"


def test_the_device_is_exported_and_names_of_browsers_are_not_shared(store, key):
    who = person.person(store, key, person.enter(store, key).token)
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0"
    device = {"browser": agent, "height": 800, "dpr": 1.5, "refresh_hz": 59.9, "touch_points": 0, "fine_pointer": True}
    flow.check_device(store, who, width=1200, device=Device.model_validate(device))
    (row,) = rows_of(store, key, "participants")
    told = {"window_width": 1200, "window_height": 800, "dpr": 1.5, "refresh_hz": 59.9, "touch_points": 0, "mobile": 0}
    assert {name: row[name] for name in told} == told
    assert (row["browser"], row["os"]) == ("Firefox 131", "Windows")
    assert json.loads(row["device"])["browser"] == agent
    (row,) = rows_of(store, key, "participants", shareable=True)
    assert not {"browser", "os", "device"} & set(row)
    assert row["refresh_hz"] == 59.9


def test_events_and_pages_are_told_in_their_order(store, key):
    who = with_all_sorts(store, key)
    (event,) = rows_of(store, key, "events")
    assert (event["participant_uid"], event["kind"], event["reason"]) == (who.row.uid, "refused answer", "foreign")
    assert json.loads(event["details"])["trial_id"] == "from outside"
    pages = [row for row in rows_of(store, key, "pages") if row["participant_uid"] == who.row.uid]
    assert [row["page"] for row in pages] == list(PHASES)[1:]
    assert all(row["seconds"] >= 0 for row in pages)


def test_every_page_of_the_instructions_has_its_time_and_its_turn(store, key):
    who = flow.consent(store, ready(store, key), given=True)
    for page in (1, 0, 1, 2):
        store.clock.now += 5
        turn_page(store, who, page)
    store.clock.now += 7
    flow.finish_instructions(store, who)
    rows = [row for row in rows_of(store, key, "pages") if row["page"] == "instructions"]
    assert [(row["instruction_page"], row["instruction_move"], row["seconds"]) for row in rows] == [
        (1, None, 5),
        (2, "forward", 5),
        (1, "back", 5),
        (2, "forward", 5),
        (3, "forward", 7),
    ]
    (person,) = rows_of(store, key, "participants")
    assert person["instruction_s"] == 27


def test_shareable_tables_say_nothing_of_who_it_was(store, key):
    who = with_all_sorts(store, key)
    with zipfile.ZipFile(io.BytesIO(bundle(store, key, "csv", shareable=True))) as archive:
        files = {name: archive.read(name).decode("utf-8-sig") for name in archive.namelist()}
    named = {f"{name}.csv{end}" for name in TABLES for end in ("", ".codebook.json")}
    assert set(files) == {*named, "read.R", "read.py"}
    for text in files.values():
        for secret in (who.row.uid, who.row.seed, "PROLIFIC123", "Firefox", "from outside"):
            assert secret not in text
    tables = {name: pd.read_csv(io.StringIO(files[f"{name}.csv"])) for name in TABLES}
    for table in tables.values():
        for name in table.columns[table.columns.str.endswith("_utc")]:
            assert table[name].dropna().between(0, 7200).all()
    (number,) = tables["participants"].query("status == 'complete'")["participant_uid"]
    assert set(tables["events"]["participant_uid"]) == {number}
    assert number in set(tables["pages"]["participant_uid"])
    assert number in set(tables["trials"]["participant_uid"])


def test_no_table_of_a_blind_study_tells_arm_or_seed(store, stimuli):
    key = publish(store, real_design(arrangement="between"), stimuli)
    finished(store, key)
    for table in TABLES:
        assert not {*BLINDED} & set(json.loads(export(store, key, "json", table).data)["codebook"])
    unblind(store, key, by="test", interim="a test")
    (row,) = rows_of(store, key, "participants")
    assert {row["condition"]} == {
        trial["condition"] for trial in rows_of(store, key, "trials") if trial["trial_type"] == "main"
    }
    assert row["seed"] == rows_of(store, key, "trials")[0]["seed"]


def test_what_came_with_an_answer_is_exported(store, key):
    who = in_main(store, key)
    trial = flow.current_trial(store, who)
    told = {
        "confidence_rt_ms": 300.5,
        "extra_rt_ms": 12.0,
        "input": "key",
        "early_answers": 2,
        "width": 1200,
        "height": 800,
        "dpr": 2,
        "onset_utc": "1970-01-12T13:46:41.500Z",
    }
    submit(store, who, answer_of(trial, "region_1", **told))
    row = rows_of(store, key, "trials")[-1]
    assert (row["confidence_rt_ms"], row["extra_rt_ms"], row["input"], row["early_answers"]) == (300.5, 12.0, "key", 2)
    assert (row["window_width"], row["window_height"], row["dpr"]) == (1200, 800, 2)
    assert row["onset_utc"] == 1_000_001.5
    assert rows_of(store, key, "trials", shareable=True)[-1]["onset_utc"] == 1.5
    rounds = {row["practice_round"] for row in rows_of(store, key, "trials") if row["trial_type"] == "practice"}
    assert rounds == {1}
