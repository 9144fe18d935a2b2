"""A participant's way, answers, cells and concurrency, on both engines."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from spade_core.errors import ConfigError, TakenError
from spade_core.study.admission.devices import Device
from spade_core.study.data import store as store_module
from spade_core.study.data.clock import STEADY, SteadyClock
from spade_core.study.data.deletion import issue_withdrawal, withdraw
from spade_core.study.data.store import Store
from spade_core.study.data.studies import opened, publish, set_status
from spade_core.study.data.tables import BarredId, Event, PageTime, Participant, Study, Trial, text_sha256
from spade_core.study.design.schedule import cells, main_schedule
from spade_core.study.running import flow, person
from spade_core.study.running.answers import Answer, give, remaining_ms, submit
from spade_core.study.running.bots import simulate
from spade_core.study.running.standing import page_of, standing_in, turn_page
from tests.study.conftest import Clock, real_design


def begun(store, key, external_id=None, **options):
    """Bring a person to the first practice trial."""
    who = person.person(store, key, person.enter(store, key, external_id=external_id, **options).token)
    who = flow.check_device(store, who, width=1200, device=Device())
    who = flow.consent(store, who, given=True)
    who = flow.finish_instructions(store, who)
    right = tuple(question.correct for question in who.design.texts.comprehension)
    return flow.comprehend(store, who, right)


def answer_of(trial, choice="region_1", **changes):
    return {
        "trial_id": trial.id,
        "choice": choice,
        "confidence": 2,
        "rt_ms": 1500.0,
        "rt_source": "browser",
        "timed_out": False,
        **changes,
    }


def standing_of(store, who):
    """Return where a person stands, whose row is as it was read."""
    return store.read(lambda session: standing_in(session, who))


def again(store, who):
    """Return the person as the database knows them now."""
    return person.Person(store.run(lambda session: session.get(Participant, who.row.uid)), who.study)


def in_main(store, key, **options):
    """Bring a person past a practice that is all right."""
    who = begun(store, key, **options)
    for _ in range(who.design.practice):
        trial = flow.current_trial(store, who)
        submit(store, who, answer_of(trial, trial.reference_side))
    return again(store, who)


def events(store, who):
    found = select(Event.details).where(Event.participant_uid == who.row.uid, Event.kind == "refused answer")
    return [details["reason"] for details in store.run(lambda session: list(session.scalars(found)))]


def test_the_whole_way_ends_with_the_code_and_progress_reaches_one_only_then(store, key):
    who = in_main(store, key)
    assert who.row.phase == "main"
    seen = [standing_of(store, who).progress]
    while (trial := flow.current_trial(store, who)) is not None:
        assert submit(store, who, answer_of(trial, trial.required or "region_2")).fresh
        seen.append(standing_of(store, again(store, who)).progress)
    assert seen == sorted(seen)
    assert seen[-1] < 1
    who = flow.finish_study(store, person.Person(who.row, who.study))
    assert (who.row.status, who.code) == ("complete", who.design.codes.complete)
    assert standing_of(store, who).progress == 1


def test_a_break_comes_before_a_block_and_never_within(store, stimuli):
    key = publish(store, real_design(pause_every=5), stimuli)
    who = in_main(store, key)
    breaks = []
    while (trial := flow.current_trial(store, who)) is not None:
        if standing_of(store, who).begins_block:
            breaks.append(trial.index - 1000)
        submit(store, who, answer_of(trial))
    assert breaks == [5, 10, 15]


def test_turning_pages_of_the_instructions_is_noted_once_and_only_there(store, key):
    who = person.person(store, key, person.enter(store, key).token)
    assert turn_page(store, who, 1) == 0, "not there yet"
    who = flow.consent(store, flow.check_device(store, who, width=1200, device=Device()), given=True)
    turns = [(1, 1), (1, 1), (0, 0), (3, 0), (-1, 0), (1, 1), (2, 2)]
    for page, at in turns:
        store.clock.now += 10
        assert turn_page(store, who, page) == at
        assert store.run(lambda session: page_of(session, who)) == at
    flow.finish_instructions(store, who)
    assert turn_page(store, who, 0) == 2, "past them"
    shown = select(PageTime.part, PageTime.at).where(PageTime.page == "instructions").order_by(PageTime.id)
    times = [(part, at - 1_000_000) for part, at in store.run(lambda session: session.execute(shown).all())]
    assert times == [(1, 0), (2, 10), (1, 30), (2, 60), (3, 70)]


def test_first_write_wins_and_only_the_current_trial_takes_an_answer(store, key):
    who, other = in_main(store, key), in_main(store, key)
    first = flow.current_trial(store, who)
    assert submit(store, who, answer_of(first, "region_1")).fresh
    again = submit(store, who, answer_of(first, "region_1"))
    assert (again.stored, again.fresh, again.refusal) == (True, False, "repeated")
    conflict = submit(store, who, answer_of(first, "region_2"))
    assert (conflict.stored, conflict.refusal) == (True, "conflicting")
    last = store.run(
        lambda session: session.scalar(
            select(Trial).where(Trial.participant_uid == who.row.uid).order_by(Trial.index.desc()).limit(1)
        )
    )
    assert submit(store, who, answer_of(last)).refusal == "skipping"
    assert submit(store, who, answer_of(flow.current_trial(store, other))).refusal == "foreign"
    assert store.run(lambda session: session.get(Trial, first.id)).choice == "region_1"
    assert events(store, who) == ["conflicting", "skipping", "foreign"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"choice": "region_3"},
        {"choice": None},
        {"confidence": 4},
        {"confidence": True},
        {"confidence": None},
        {"rt_ms": 3.0},
        {"rt_ms": float("nan")},
        {"rt_ms": "800"},
        {"rt_source": "elsewhere"},
        {"choice": None, "timed_out": True},
    ],
)
def test_impossible_answers_change_nothing(store, key, wrong):
    who = in_main(store, key)
    trial = flow.current_trial(store, who)
    assert submit(store, who, answer_of(trial, **wrong)).refusal == "impossible"
    assert flow.current_trial(store, who).id == trial.id


def test_confidence_is_refused_where_it_is_not_asked_and_times_beyond_the_limit_are_implausible(store, stimuli):
    key = publish(store, real_design(confidence=False, time_limit_ms=5000), stimuli)
    who = begun(store, key)
    trial = flow.current_trial(store, who)
    late = {"choice": None, "timed_out": True, "rt_ms": None}
    for wrong in ({}, {"confidence": None, "rt_ms": 7001.0}, late):
        assert submit(store, who, answer_of(trial, **wrong)).refusal == "impossible"
    assert submit(store, who, answer_of(trial, confidence=None, rt_ms=6900.0)).fresh


def test_no_time_is_longer_than_since_the_trial_was_given_and_a_reload_does_not_give_it_anew(store, stimuli):
    key = publish(store, real_design(time_limit_ms=5000), stimuli)
    who = in_main(store, key)
    trial = give(store, flow.current_trial(store, who))
    assert remaining_ms(who.design, trial, store.clock()) == 5000
    store.clock.now += 1.5
    trial = give(store, flow.current_trial(store, who))
    assert remaining_ms(who.design, trial, store.clock()) == 3500
    assert submit(store, who, answer_of(trial, rt_ms=3600.0)).fresh, "the answer counts"
    stored = store.run(lambda session: session.get(Trial, trial.id))
    assert (stored.rt_ms, stored.rt_source) == (3600.0, "reloaded"), "its time does not"
    store.clock.now += 99
    assert remaining_ms(who.design, give(store, trial), store.clock()) == 0


@pytest.mark.parametrize("step", [-3600.0, -60.0, 60.0, 3600.0])
def test_an_answer_is_taken_although_the_clock_was_set(store, stimuli, step):
    key = publish(store, real_design(time_limit_ms=5000), stimuli)
    who = in_main(store, key)
    trial = give(store, flow.current_trial(store, who))
    store.clock.now += step  # as another process would see it
    assert 0 <= remaining_ms(who.design, trial, store.clock()) <= 5000
    assert submit(store, who, answer_of(trial, rt_ms=1400.0)).fresh
    assert flow.current_trial(store, who).id != trial.id


def test_the_stores_own_clock_does_not_step():
    wall, uptime = Clock(), Clock()
    steady = SteadyClock(wall, uptime)
    begun = steady()
    assert begun == wall()
    wall.now -= 60
    assert steady() == begun
    uptime.now += 5
    assert steady() == begun + 5
    first = Store.__init__.__kwdefaults__["clock"]
    assert first is STEADY
    assert abs(STEADY() - time.time()) < 60


def test_what_comes_with_an_answer_is_kept_as_far_as_it_is_plain(store, key):
    who = in_main(store, key)
    resize = {"ms": 12.5, "width": 900, "height": 700}
    unusable = [{"ms": 1.0}, {**resize, "width": "900"}, {**resize, "ms": float("nan")}, "x", [1], True, None, 10**400]
    trial = flow.current_trial(store, who)
    given = answer_of(trial, resizes=[*unusable, {**resize, "more": "x" * 999}], focus_losses=[3.0, float("inf")])
    assert submit(store, who, {**given, "shown": 1}).fresh
    other = flow.current_trial(store, who)
    assert submit(store, who, answer_of(other, resizes=[resize] * 500, shown=2)).fresh
    first, second = (store.run(lambda session, one=one: session.get(Trial, one.id)) for one in (trial, other))
    assert (first.details["resizes"], first.details["focus_losses"]) == ([resize], [3.0])
    assert len(second.details["resizes"]) == 200
    assert (first.details["shown"], first.rt_source) == (1, "browser")
    assert (second.details["shown"], second.rt_source) == (2, "reloaded"), "its time stays out of such analyses"


def test_practice_repeats_up_to_three_rounds_and_then_flags(store, key):
    who = begun(store, key)
    rounds = []
    while (trial := flow.current_trial(store, who)) is not None and trial.type == "practice":
        rounds.append(trial.index // 100)
        receipt = submit(store, who, answer_of(trial, "cannot_tell"))
        assert receipt.correct is False
        who = again(store, who)
    assert Counter(rounds) == {0: 6, 1: 6, 2: 6}
    assert who.row.practice_flagged
    assert who.row.phase == "main"


@pytest.mark.parametrize("practice", [0, 6])
def test_steps_taken_twice_change_nothing_where_no_comprehension_is_asked(store, stimuli, practice):
    texts = {**real_design().texts.model_dump(), "comprehension": ()}
    key = publish(store, real_design(texts=texts, practice=practice, practice_pass=0), stimuli)
    who = person.person(store, key, person.enter(store, key).token)
    who = flow.consent(store, flow.check_device(store, who, width=1200, device=Device()), given=True)
    for _ in range(2):
        who = flow.finish_instructions(store, who)
        assert who.row.phase == ("practice" if practice else "main")
    planned = select(func.count()).where(Trial.participant_uid == who.row.uid, Trial.type == "practice")
    assert store.read(lambda session: session.scalar(planned)) == practice


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra": ["a"]},
        {"timed_out": "no"},
        {"rt_source": ["browser"]},
        {"rt_ms": True},
        {"rt_ms": 10**400},
        {"confidence": 2.0},
        {"confidence": 0},
        {"choice": {}},
        {"rt_ms": float("inf")},
    ],
)
def test_an_answer_is_read_once_and_whole_or_not_at_all(wrong):
    fine = {"choice": "region_1", "confidence": 2, "extra": None, "rt_ms": 800, "rt_source": "browser"}
    read = Answer.read({**fine, "trial_id": "t", "width": "wide", "dpr": 2})
    assert (read.choice, read.rt_ms, read.timed_out) == ("region_1", 800.0, False)
    assert read.details.model_dump(exclude_unset=True) == {"width": None, "dpr": 2}
    with pytest.raises(ValidationError, match="frozen"):
        read.choice = "region_2"
    assert Answer.read({**fine, **wrong}) is None


def test_a_phone_is_refused_where_the_design_says_so_and_its_owner_may_come_back(store, key, stimuli):
    agent = "Mozilla/5.0 (Linux; Android 13) Mobile Safari/537.36"
    phone = Device(browser=agent, touch_points=5, refresh_hz=60.2)
    who = person.person(store, key, person.enter(store, key).token)
    for _ in range(2):
        assert flow.check_device(store, who, width=900, device=phone, native=True).row.phase == "device"
    noted = select(Event.kind).where(Event.participant_uid == who.row.uid)
    assert store.run(lambda session: list(session.scalars(noted))) == [flow.MOBILE]
    assert flow.check_device(store, who, width=900, device=Device(browser="Firefox")).row.phase == "consent"
    free = publish(store, real_design(mobile="allowed"), stimuli)
    who = person.person(store, free, person.enter(store, free).token)
    assert flow.check_device(store, who, width=900, device=phone).row.phase == "consent"


def wrong_answers(store, who):
    return store.read(lambda session: standing_in(session, who)).wrong


def test_declining_a_narrow_window_and_failed_comprehension_leave_politely(store, key):
    who = person.person(store, key, person.enter(store, key).token)
    assert flow.check_device(store, who, width=500, device=Device()).row.phase == "device"
    who = flow.check_device(store, who, width=1000, device=Device())
    declined = flow.consent(store, who, given=False)
    assert (declined.row.status, declined.code) == ("declined", who.design.codes.declined)
    assert declined.row.cell is None
    late = flow.consent(store, declined, given=True)
    assert late.row.status == "declined", "a decision cannot be taken twice"

    who = person.person(store, key, person.enter(store, key).token)
    who = flow.finish_instructions(
        store, flow.consent(store, flow.check_device(store, who, width=900, device=Device()), given=True)
    )
    who = flow.comprehend(store, who, (0, 0))
    assert who.row.status == "active"
    second = who.design.texts.comprehension[1].question
    assert len(wrong_answers(store, who)) == 2
    who = flow.comprehend(store, who, (1, 0))
    assert who.row.status == "screened_out"
    assert wrong_answers(store, who) == (second,), "which answers were wrong is still told after a reload"
    assert flow.comprehend(store, who, (0, 0)).row.comprehension_tries == 2
    assert wrong_answers(store, who) == (second,)


def test_a_consent_is_kept_with_its_version_and_the_hash_of_all_that_was_shown(store, stimuli):
    who = begun(store, publish(store, real_design(version=3), stimuli))
    assert (who.row.consent_version, who.row.consent_sha256) == (3, who.design.consent_sha256)
    assert who.row.consent_design_version == 1
    for name in ("controller", "contact", "ethics", "retention", "age"):
        assert real_design(**{name: "other"}).consent_sha256 != who.design.consent_sha256


def test_only_two_failed_attention_checks_change_the_code(store, key):
    def finished(failures):
        who = in_main(store, key)
        failed = 0
        while (trial := flow.current_trial(store, who)) is not None:
            choice = "region_1"  # always the same side, and wrong in catch trials: no matter
            if trial.required is not None:
                choice = "cannot_tell" if failed < failures else trial.required
                failed += 1
            submit(store, who, answer_of(trial, choice, rt_ms=510.0))
        return flow.finish_study(store, who).row.status

    assert [finished(failures) for failures in (1, 2)] == ["complete", "failed"]


def test_a_newer_tab_takes_over_and_one_id_is_one_participation(store, key):
    first = person.enter(store, key, external_id="ABC")
    second = person.enter(store, key, external_id="ABC")
    assert (first.uid, second.returned) == (second.uid, True)
    assert person.person(store, key, first.token) is None
    assert person.person(store, key, second.token).row.uid == first.uid
    with pytest.raises(ConfigError, match="participant id"):
        person.enter(store, key, external_id="x" * 101)


def test_an_id_alone_gives_nothing_once_somebody_has_agreed(store, key):
    entry = person.enter(store, key, external_id="ABC")
    who = flow.check_device(store, person.person(store, key, entry.token), width=900, device=Device())
    flow.consent(store, who, given=True)
    for token in (None, "", "0" * 32, entry.token.upper()):
        with pytest.raises(TakenError, match="This id cannot begin here"):
            person.enter(store, key, external_id="ABC", token=token)
    assert person.person(store, key, entry.token) is not None, "and takes nothing from who is at it"
    again = person.enter(store, key, external_id="ABC", token=entry.token)
    assert (again.uid, again.token, again.returned) == (entry.uid, entry.token, True)
    other = person.enter(store, key, external_id="ABD", token=entry.token)
    assert other.uid != entry.uid, "a token belongs to its id"


def test_an_id_is_enough_where_the_design_says_so_but_for_codes(store, stimuli):
    key = publish(store, real_design(returning="id"), stimuli)
    who = begun(store, key, external_id="A")
    again = person.enter(store, key, external_id="A")
    assert (again.uid, again.returned) == (who.row.uid, True)
    with pytest.raises(ConfigError, match="by your participant id alone"):
        issue_withdrawal(store, who.row.uid)
    ended(store, who, "complete")
    with pytest.raises(TakenError):
        person.enter(store, key, external_id="A")


def test_a_personal_link_shows_whose_it_is(store, key):
    who = begun(store, key, external_id="personal:A")
    ended(store, who, "complete")
    assert person.enter(store, key, external_id="personal:A", signed=True).uid == who.row.uid
    assert issue_withdrawal(store, who.row.uid)


def ended(store, who, status, **values):
    """Let a participation have ended so."""

    def work(session):
        for name, value in {"status": status, **values}.items():
            setattr(session.get(Participant, who.row.uid), name, value)

    store.run(work)


@pytest.mark.parametrize(
    ("status", "values", "barred"),
    [
        ("failed", {}, True),
        ("screened_out", {}, True),
        ("screened_out", {"cell": None}, False),
        ("complete", {"practice_flagged": True}, True),
        ("complete", {}, False),
        ("declined", {"cell": None}, False),
    ],
)
def test_deleting_ones_data_is_no_fresh_start_for_who_failed_a_check(
    store, key, monkeypatch, tmp_path, status, values, barred
):
    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path))
    who = begun(store, key, external_id="A")
    ended(store, who, status, **values)
    assert withdraw(store, issue_withdrawal(store, who.row.uid))
    kept = store.read(lambda session: list(session.scalars(select(BarredId.id_hmac))))
    assert len(kept) == barred
    assert text_sha256("A") not in kept
    assert person.enter(store, key, external_id="B")
    if barred:
        with pytest.raises(TakenError, match="This id cannot begin here"):
            person.enter(store, key, external_id="A")
    else:
        assert not person.enter(store, key, external_id="A").returned


def test_paused_studies_take_nobody_new_but_let_people_finish(store, key):
    who = begun(store, key, external_id="A")
    set_status(store, key, "paused")
    with pytest.raises(ConfigError, match="takes no new participants"):
        person.enter(store, key)
    assert person.enter(store, key, external_id="A", signed=True).uid == who.row.uid
    trial = flow.current_trial(store, who)
    assert submit(store, who, answer_of(trial)).fresh


def test_bots_fill_cells_evenly_and_never_a_persons_cell_quota_or_freeze(store, key):
    study = opened(store, key)
    count = 2 * len(cells(study.design, study.stimuli))
    assert simulate(store, key, count, "rater", seed=1) == {"complete": count}
    query = select(Participant.cell, func.count()).where(Participant.is_bot).group_by(Participant.cell)
    assert set(dict(store.run(lambda s: [tuple(row) for row in s.execute(query)])).values()) == {2}
    assert store.run(lambda s: s.scalar(select(Study.frozen))) is None
    in_main(store, key)
    assert store.run(lambda s: s.scalar(select(Study.frozen))) is not None


def test_every_seed_replays_to_the_stored_schedule(store, key):
    who = in_main(store, key)
    plan = main_schedule(
        who.design, who.study.stimuli, cells(who.design, who.study.stimuli)[who.row.cell], int(who.row.seed, 16)
    )
    stored = store.run(
        lambda session: list(
            session.scalars(
                select(Trial)
                .where(Trial.participant_uid == who.row.uid, Trial.type != "practice")
                .order_by(Trial.index)
            )
        )
    )
    assert [(t.index, t.type, t.stimulus_id, t.condition, t.reference_side, t.required) for t in stored] == [
        (t.index, t.type, t.stimulus_id, t.condition, t.reference_side, t.required) for t in plan
    ]


def test_abandoned_starts_free_their_cell_and_the_quota_holds(store, stimuli):
    key = publish(store, real_design(quota=2, expire_minutes=10), stimuli)
    idle = [begun(store, key) for _ in range(2)]
    full = person.person(store, key, person.enter(store, key).token)
    full = flow.consent(store, flow.check_device(store, full, width=900, device=Device()), given=True)
    assert full.row.status == "screened_out"
    store.clock.now += 11 * 60
    fresh = begun(store, key)
    assert fresh.row.phase == "practice"
    assert idle[0].row.cell is not None


@pytest.mark.usefixtures("patient")
def test_people_who_consent_at_once_wait_for_each_other_and_nobody_is_turned_away(store, stimuli, monkeypatch):
    """With one try each: where transactions disturbed each other, most would fail."""
    key = publish(store, real_design(quota=100), stimuli)
    ready = [person.person(store, key, person.enter(store, key).token) for _ in range(16)]
    ready = [flow.check_device(store, who, width=1200, device=Device()) for who in ready]
    errors, together = [], threading.Barrier(len(ready))
    if store.file is None:
        monkeypatch.setattr(store_module, "TRIES", 1)

    def agree(who):
        together.wait()
        try:
            flow.consent(store, who, given=True)
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            errors.append(error)

    threads = [threading.Thread(target=agree, args=(who,)) for who in ready]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    taken = select(func.count()).where(Participant.cell.is_not(None)).group_by(Participant.cell)
    counts = store.run(lambda session: list(session.scalars(taken)))
    assert sum(counts) == len(ready)
    assert max(counts) - min(counts) <= 1


def test_threads_starting_one_id_make_one_participant_and_many_ids_fill_cells_within_one(store, stimuli):
    key = publish(store, real_design(quota=100), stimuli)
    uids, errors = [], []

    def start(external_id):
        try:
            uids.append(begun(store, key, external_id=external_id).row.uid)
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            errors.append(error)

    def together(names):
        threads = [threading.Thread(target=start, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    entered = []
    threads = [
        threading.Thread(target=lambda: entered.append(person.enter(store, key, external_id="one").uid))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) == 20
    assert len(set(entered)) == 1
    together([f"id{number}" for number in range(20)])
    assert not errors
    assert len(set(uids)) == 20
    query = select(Participant.cell, func.count()).where(Participant.cell.is_not(None)).group_by(Participant.cell)
    counts = dict(store.run(lambda s: [tuple(row) for row in s.execute(query)]))
    number = len(cells(real_design(), stimuli))
    full = [counts.get(cell, 0) for cell in range(number)]
    assert max(full) - min(full) <= 1
