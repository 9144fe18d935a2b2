"""The rows of an export's tables: answered trials, participants, events and page times, as of one moment.

``codebook`` says which columns they have, and ``export`` takes out of them what a blind or a shareable export must not
hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.admission.devices import Device, is_mobile
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, Unblinding, blind_in, last_version, opened_in, unblinding_in
from spade_core.study.data.tables import Event, PageTime, Participant, Trial, by_person
from spade_core.study.design.schedule import ROUND, cells, other_region
from spade_core.study.monitoring.checks import Verdict, check_person
from spade_core.study.monitoring.free_texts import shared
from spade_core.study.monitoring.status import status_now
from spade_core.study.running.answers import TrialDetails
from spade_core.study.running.phases import as_of, never_shown
from spade_core.study.stimuli.stimulus_set import Item
from spade_core.study.vocabulary import CANNOT_TELL, COMPLETE, PRACTICE, SIMULATED, TERMINAL, TRIAL_TYPES


@dataclass(frozen=True)
class Source:
    """All rows of a study as of one moment.

    Attributes:
        version: number of the design's last saved version; blind: conditions must stay hidden; now: UTC seconds.
        unblinding: when they were first seen, None: never.
        people: in the order of their starts; trials: the answered ones, events, pages: by participant uid.
        left_at: condition of the main trial that waits, of who is or was last at one, by participant uid.
        shared: owner and name of each free text that may be shared.
        verdicts: what the data-quality rules found, by participant uid.
    """

    study: Opened
    version: int
    blind: bool
    unblinding: Unblinding | None
    now: float
    people: Sequence[Participant]
    trials: Mapping[str, Sequence[Trial]]
    events: Mapping[str, Sequence[Event]]
    pages: Mapping[str, Sequence[PageTime]]
    left_at: Mapping[str, str]
    shared: Set[tuple[str, str]]
    verdicts: Mapping[str, Verdict]


def read_source(store: Store, key: str) -> Source:
    """Read a study and its rows in one transaction.

    Raises:
        ConfigError: no such study.
    """
    now = store.clock()

    def work(session: Session) -> Source:
        study = opened_in(session, key)
        mine = Participant.study_id == study.row.id
        people, trials = as_of(session, study, now)
        events = by_person(session.scalars(select(Event).join(Participant).where(mine).order_by(Event.id)))
        pages = by_person(session.scalars(select(PageTime).join(Participant).where(mine).order_by(PageTime.id)))
        verdicts = {
            person.uid: check_person(person, trials.get(person.uid, ()), study.design, pages.get(person.uid, ()))
            for person in people
        }
        version, blind = last_version(session, study.row.id), blind_in(session, study.row)
        seen, texts = unblinding_in(session, study.row), shared(session, study)
        left_at = _left_at(session, study, trials)
        return Source(study, version, blind, seen, now, people, trials, events, pages, left_at, texts, verdicts)

    return store.read(work)


def _left_at(session: Session, study: Opened, trials: Mapping[str, Sequence[Trial]]) -> dict[str, str]:
    mine = (Participant.study_id == study.row.id, Participant.phase == "main")
    open_ones = select(Trial).join(Participant).where(*mine, Trial.answered.is_(None), Trial.type != PRACTICE)
    waiting = [*session.scalars(open_ones), *(one for of in trials.values() for one in of if never_shown(one))]
    first = {uid: found[0] for uid, found in by_person(sorted(waiting, key=lambda one: one.index)).items()}
    return {uid: one.condition for uid, one in first.items() if one.type == "main"}


def arm_of(study: Opened, cell: int | None) -> str | None:
    """Return the one condition that a cell gives, or None: all of them, or no cell yet."""
    if cell is None or study.design.arrangement != "between":
        return None
    return study.design.conditions[cells(study.design, study.stimuli)[cell].rotation]


def completed_by(source: Source, at: float) -> int:
    """Return how many people whom the analysis keeps had completed at a time, UTC seconds."""
    people = (one for one in source.people if not (one.is_bot or one.is_preview) and one.status == COMPLETE)
    return sum((one.finished or 0) <= at and source.verdicts[one.uid].included for one in people)


@dataclass(frozen=True)
class PersonRow:
    """One participant; a row holds what the codebook's columns ask for."""

    source: Source
    person: Participant
    verdict: Verdict
    answered: Sequence[Trial]
    events: Sequence[Event]

    @property
    def simulated(self) -> str:
        return SIMULATED if self.person.is_bot or self.person.is_preview else ""

    @property
    def conditions_seen(self) -> str | None:
        seen = self.source.unblinding
        return None if seen is None else f"{datetime.fromtimestamp(seen.at, UTC):%Y-%m-%dT%H:%M:%SZ}"

    @property
    def completed_when_seen(self) -> int | None:
        seen = self.source.unblinding
        return None if seen is None else completed_by(self.source, seen.at)

    @property
    def status(self) -> str:
        return status_now(self.person, self.source.study.design, self.source.now)

    @property
    def code_kind(self) -> str | None:
        status = self.person.status
        return status if status in TERMINAL and getattr(self.source.study.design.codes, status) else None

    @property
    def arm(self) -> str | None:
        """The one condition that somebody meets, or None: all of them, or none yet."""
        return arm_of(self.source.study, self.person.cell)

    @property
    def checks(self) -> str:
        return json.dumps(self.verdict.told(), sort_keys=True)

    @cached_property
    def machine(self) -> Device:
        return Device.model_validate(self.person.device or {})

    @property
    def mobile(self) -> bool | None:
        return is_mobile(self.machine) if self.machine.browser else None

    @property
    def device(self) -> str:
        told = {name: value for name, value in (self.person.device or {}).items() if name != "tab"}
        return json.dumps(told, sort_keys=True)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many trials of each type were answered, what happened in those after practice, and events."""
        later = [trial for trial in self.answered if trial.type != PRACTICE]
        return {
            **{kind: sum(trial.type == kind for trial in self.answered) for kind in TRIAL_TYPES},
            "cannot_tell": sum(trial.choice == CANNOT_TELL for trial in later),
            "timed_out": sum(bool(trial.timed_out) for trial in later),
            "focus_losses": sum(trial.n_focus_losses for trial in later),
            "events": len(self.events),
        }


@dataclass(frozen=True)
class TrialRow(PersonRow):
    """One answered trial."""

    trial: Trial

    @cached_property
    def item(self) -> Item:
        return self.source.study.stimuli.item(self.trial.stimulus_id)

    @cached_property
    def details(self) -> TrialDetails:
        return TrialDetails.model_validate(self.trial.details or {})

    @property
    def practice_round(self) -> int | None:
        return self.trial.index // ROUND + 1 if self.trial.type == PRACTICE else None

    @property
    def sides(self) -> dict[str, str]:
        """Which region each baseline of the stimulus set names."""
        region = {"reference": self.trial.reference_side, "other": other_region(self.trial.reference_side)}
        return {name: region[answer] for name, answer in self.item.answers.items()}

    @property
    def correct(self) -> int | None:
        choice, required = self.trial.choice, self.trial.required
        if choice is None or (choice == CANNOT_TELL and required is None):
            return None
        return int(choice == (required or self.trial.reference_side))

    @property
    def timed_out_by(self) -> str | None:
        return None if not self.trial.timed_out else "study" if never_shown(self.trial) else "trial"

    @property
    def resizes(self) -> int | None:
        return None if self.details.resizes is None else len(self.details.resizes)


@dataclass(frozen=True)
class EventRow(PersonRow):
    """Something that happened outside answers."""

    event: Event

    @property
    def details(self) -> str | None:
        return None if self.event.details is None else json.dumps(self.event.details, sort_keys=True)


@dataclass(frozen=True)
class PageRow(PersonRow):
    """A page that somebody came to.

    Attributes:
        before: the page of the instructions that they came from, from 1, None: from elsewhere.
        until: when they came to the next page or to the end, UTC seconds.
    """

    page: PageTime
    before: int | None
    until: float | None

    @property
    def move(self) -> str | None:
        if self.before is None or self.page.part is None:
            return None
        return "forward" if self.page.part > self.before else "back"

    @property
    def seconds(self) -> float | None:
        return None if self.until is None else self.until - self.page.at


def rows_of(source: Source, table: str) -> Iterator[PersonRow]:
    """Yield the rows of one of the tables, ``participants``, ``trials``, ``events`` or ``pages``."""
    for person in source.people:
        answered, events = source.trials.get(person.uid, ()), source.events.get(person.uid, ())
        of_person = (source, person, source.verdicts[person.uid], answered, events)
        if table == "participants":
            yield PersonRow(*of_person)
        elif table == "trials":
            yield from (TrialRow(*of_person, trial) for trial in answered)
        elif table == "events":
            yield from (EventRow(*of_person, event) for event in events)
        else:
            pages = source.pages.get(person.uid, ())
            befores = [None, *(page.part for page in pages)]
            ends = [*(page.at for page in pages[1:]), person.finished]
            for page, before, until in zip(pages, befores, ends, strict=False):
                yield PageRow(*of_person, page, before, until)
