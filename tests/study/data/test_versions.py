"""Drafts, versions, the freeze, and closing for good, on both engines."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select

from spade_core.errors import ConfigError
from spade_core.study.admission.devices import Device
from spade_core.study.data import studies
from spade_core.study.data.store import Store
from spade_core.study.data.studies import find, opened, publish, save_draft, set_status
from spade_core.study.data.tables import Audit, Participant, Trial
from spade_core.study.data.versions import copy, design_of, edit, versions
from spade_core.study.design.design import TEMPLATE, load_design
from spade_core.study.running import flow, person
from spade_core.study.running.bots import simulate
from spade_core.study.vocabulary import STATES
from tests.study.conftest import real_design, tiny_set
from tests.study.running.test_flow import begun


def actions(store):
    return store.run(lambda session: list(session.scalars(select(Audit.action).order_by(Audit.id))))


def count(store, of):
    return store.run(lambda session: session.scalar(select(func.count()).select_from(of)))


def test_a_draft_takes_previews_and_bots_but_no_people_until_it_is_published(store, stimuli):
    key = save_draft(store, load_design(TEMPLATE), stimuli)
    with pytest.raises(ConfigError, match="no new participants"):
        person.enter(store, key)
    assert begun(store, key, is_preview=True).row.phase == "practice"
    assert simulate(store, key, 1, "rater", 0) == {"complete": 1}
    with pytest.raises(ConfigError, match="“controller” is still a placeholder"):
        set_status(store, key, "open")
    assert edit(store, key, real_design()) == 2
    assert (count(store, Participant), count(store, Trial)) == (0, 0), "what was simulated belongs to the first version"
    set_status(store, key, "open")
    assert begun(store, key).row.cell is not None
    assert actions(store) == ["save draft", "edit", "publish"]


def test_keys_are_letters_and_digits_so_that_no_command_takes_one_for_an_option(tmp_path, stimuli):
    store = Store(f"sqlite:///{tmp_path / 'keys.sqlite3'}")
    design = real_design()
    keys = [save_draft(store, design, stimuli) for _ in range(100)]
    assert all(key.isalnum() and key.isascii() and len(key) == 12 for key in keys)
    assert len(set(keys)) == 100
    store.close()


def test_every_saved_version_is_kept_with_hash_and_time(store, stimuli, tmp_path):
    key = publish(store, real_design(), stimuli)
    store.clock.now += 60
    assert edit(store, key, real_design(trials=9, name="Other")) == 2
    assert edit(store, key, real_design(trials=9, name="Other")) == 2, "the same is no new version"
    larger = tiny_set(tmp_path / "larger", main=13)
    assert edit(store, key, real_design(trials=9, name="Other"), larger) == 3
    found = versions(store, key)
    assert [version.number for version in found] == [1, 2, 3]
    assert [version.saved for version in found] == [1_000_000.0, 1_000_060.0, 1_000_060.0]
    assert [version.design_sha256 for version in found] == [
        real_design().sha256,
        *[real_design(trials=9, name="Other").sha256] * 2,
    ]
    assert [version.stimuli_sha256 for version in found] == [stimuli.sha256, stimuli.sha256, larger.sha256]
    assert design_of(store, key, 1) == real_design()
    assert design_of(store, key).trials == 9
    assert (opened(store, key).row.name, opened(store, key).stimuli.sha256) == ("Other", larger.sha256)
    with pytest.raises(ConfigError, match="no version 4: choose one from 1 to 3"):
        design_of(store, key, 4)


def test_a_published_study_takes_no_edit_that_could_not_be_published(store, key):
    with pytest.raises(ConfigError, match="placeholder"):
        edit(store, key, load_design(TEMPLATE))
    with pytest.raises(ConfigError, match="12 class neurons"):
        edit(store, key, real_design(trials=13))
    assert len(versions(store, key)) == 1


def test_the_first_real_participant_freezes_the_design_and_a_copy_is_a_new_draft(store, key):
    who = person.person(store, key, person.enter(store, key).token)
    assert edit(store, key, real_design(trials=10)) == 2, "entering is no beginning: the consent comes first"
    who = person.person(store, key, person.enter(store, key).token)
    flow.consent(store, flow.check_device(store, who, width=900, device=Device()), given=True)
    with pytest.raises(ConfigError, match=r"^This study is frozen.*copy it") as caught:
        edit(store, key, real_design(trials=9))
    assert str(caught.value).count(".") == 1
    assert opened(store, key).design.trials == 10
    other = copy(store, key, real_design(trials=9))
    assert (opened(store, other).row.status, opened(store, other).row.frozen) == ("draft", None)
    assert opened(store, copy(store, key)).design.trials == 10
    assert count(store, Participant) == 2


def test_a_consent_to_a_text_that_was_edited_meanwhile_does_not_count(store, key):
    who = person.person(store, key, person.enter(store, key).token)
    who = flow.check_device(store, who, width=900, device=Device())
    edit(store, key, real_design(trials=10))
    with pytest.raises(ConfigError, match="reload the page"):
        flow.consent(store, who, given=True)
    assert store.run(lambda session: session.get(Participant, who.row.uid)).consented is None


@pytest.mark.usefixtures("patient")
def test_either_the_edit_or_the_first_participant_wins(store, stimuli):
    for number in range(4):
        key = publish(store, real_design(), stimuli)
        who = person.person(store, key, person.enter(store, key).token)
        who = flow.check_device(store, who, width=900, device=Device())
        start, ends = threading.Barrier(2), []

        def do(action, start=start, ends=ends):
            start.wait()
            try:
                action()
                ends.append("done")
            except ConfigError:
                ends.append("refused")

        threads = [
            threading.Thread(target=do, args=(lambda key=key: edit(store, key, real_design(trials=10)),)),
            threading.Thread(target=do, args=(lambda who=who: flow.consent(store, who, given=True),)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ends) == ["done", "refused"], number
        assert (opened(store, key).row.frozen is None) == (opened(store, key).design.trials == 10)


def test_a_closed_study_stays_closed_and_who_has_begun_may_finish(store, key):
    who = begun(store, key)
    set_status(store, key, "closed")
    set_status(store, key, "closed")
    for status in ("open", "paused", "draft"):
        with pytest.raises(ConfigError, match=r"^This study is closed for good"):
            set_status(store, key, status)
    with pytest.raises(ConfigError, match="no new participants"):
        person.enter(store, key, is_preview=True)
    assert flow.current_trial(store, who) is not None
    assert actions(store) == ["publish", "closed"]
    other = publish(store, real_design(), opened(store, key).stimuli)
    set_status(store, other, "closed")
    with pytest.raises(ConfigError, match="closed for good"):
        edit(store, other, real_design(trials=9))


def test_a_study_whose_set_is_gone_can_still_be_paused_and_closed(store, key, stimuli):
    studies._stimuli.cache_clear()
    (stimuli.folder / "manifest.json").unlink()
    for status in ("paused", "open", "closed"):
        set_status(store, key, status)
    assert store.run(lambda session: find(session, key)).status == "closed"
    with pytest.raises(ConfigError, match="holds no stimulus set"):
        opened(store, key)


@pytest.mark.parametrize("before", sorted(STATES))
def test_the_states_move_as_listed_and_no_other_way(store, stimuli, before):
    for after in STATES:
        key = publish(store, real_design(), stimuli)
        store.run(lambda session, key=key: setattr(find(session, key), "status", before))
        if after == before or after in STATES[before].next:
            set_status(store, key, after)
            assert opened(store, key).row.status == after
        else:
            with pytest.raises(ConfigError):
                set_status(store, key, after)
            assert opened(store, key).row.status == before
    with pytest.raises(ConfigError, match="not lost"):
        set_status(store, key, "lost")
