"""The rows of an export's tables, raw: answered trials, participants, events and page times.

``export`` takes out of them what a blind or a shareable export must not hold.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.admission.devices import browser_of, is_mobile, os_of
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, blind_in, last_version, opened_in
from spade_core.study.data.tables import Event, PageTime, Participant, Trial
from spade_core.study.design.schedule import ROUND, cells, other_region
from spade_core.study.export.codebook import check_column, rating_column, text_column
from spade_core.study.monitoring.checks import Checks, check_person, instruction_s, total_s
from spade_core.study.monitoring.free_texts import shared
from spade_core.study.monitoring.status import status_now
from spade_core.study.running.answers import is_number
from spade_core.study.running.phases import never_shown, read_in_time
from spade_core.study.vocabulary import TERMINAL

Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """All rows of a study as of one moment.

    Attributes:
        version: number of the design's last saved version; blind: conditions must stay hidden; now: UTC seconds.
        people: in the order of their starts; trials: the answered ones, events, pages: by participant uid.
        shared: owner and name of each free text that may be shared.
        checks: what the data-quality rules found, by participant uid.
    """

    study: Opened
    version: int
    blind: bool
    now: float
    people: Sequence[Participant]
    trials: Mapping[str, Sequence[Trial]]
    events: Mapping[str, Sequence[Event]]
    pages: Mapping[str, Sequence[PageTime]]
    shared: Set[tuple[str, str]]
    checks: Mapping[str, Checks]


def read_source(store: Store, key: str) -> Source:
    """Read a study and its rows in one transaction.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> Source:
        study = opened_in(session, key)
        mine = Participant.study_id == study.row.id
        people = list(session.scalars(select(Participant).where(mine).order_by(Participant.started, Participant.uid)))
        answered = select(Trial).join(Participant).where(mine, Trial.answered.is_not(None)).order_by(Trial.index)
        trials = _by_person(session.scalars(answered))
        pages = _by_person(session.scalars(select(PageTime).join(Participant).where(mine).order_by(PageTime.id)))
        return Source(
            study, last_version(session, study.row.id), blind_in(session, study.row), store.clock(), people, trials,
            _by_person(session.scalars(select(Event).join(Participant).where(mine).order_by(Event.id))),
            pages,
            shared(session, study),
            {
                person.uid: check_person(person, trials.get(person.uid, ()), study.design, pages.get(person.uid, ()))
                for person in people
            },
        )  # fmt: skip

    return read_in_time(store, key, work)


def _by_person(rows: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.participant_uid, []).append(row)
    return found


def _study(source: Source) -> Row:
    row = source.study.row
    return {
        "study_id": row.id, "study_version": source.study.design.version, "design_version": source.version,
        "design_sha256": row.design_sha256, "code_version": row.code_version,
        "class_shown": source.study.design.show_class,
    }  # fmt: skip


def _who(person: Participant) -> Row:
    return {
        "participant_uid": person.uid, "is_bot": person.is_bot, "is_preview": person.is_preview,
        "policy": person.policy, "simulated": "SIMULATED" if person.is_bot or person.is_preview else "",
    }  # fmt: skip


def _trials(source: Source) -> Iterator[Row]:
    head = _study(source)
    for person in source.people:
        for trial in source.trials.get(person.uid, ()):
            yield {**head, **_trial(source, person, trial)}


def _trial(source: Source, person: Participant, trial: Trial) -> Row:
    study, verdict = source.study, source.checks[person.uid]
    item = study.stimuli.item(trial.stimulus_id)

    def side(answer: str | None) -> str | None:
        if answer is None:
            return None
        return trial.reference_side if answer == "reference" else other_region(trial.reference_side)

    return {
        **_who(person), "demo": study.row.demo, "included": verdict.included, "exclusion_reason": verdict.reason,
        "status": person.status, "cell": person.cell, "seed": person.seed, "trial_id": trial.id,
        "trial_index": trial.index, "block_index": trial.block, "trial_type": trial.type,
        "practice_round": trial.index // ROUND + 1 if trial.type == "practice" else None,
        "stimulus_id": item.id, "picture_id": item.picture_id, "class_neuron": item.class_neuron,
        "model_id": item.model_id, "condition": trial.condition, "reference_source": item.reference_source,
        "keeps_class": item.keeps_class, "reference_side": trial.reference_side,
        **{column: side(item.answers.get(name)) for column, name in _BASELINES.items()},
        "required": trial.required, "choice": trial.choice, "correct": _correct(trial),
        "confidence": trial.confidence, "rt_ms": trial.rt_ms, "rt_source": trial.rt_source,
        "timed_out": bool(trial.timed_out), "timed_out_by": _limit(trial),
        "n_focus_losses": trial.n_focus_losses, "repeat_of": trial.repeat_of,
        "submitted_utc": trial.answered, **_details(trial.details or {}), "comment": person.comment,
        **_own(study, trial),
    }  # fmt: skip


_BASELINES = {
    "central_side": "central", "contrast_side": "contrast", "rater_side_dense": "rater_dense",
    "rater_side_spade": "rater_spade", "rater_side_reference": "rater_reference",
}  # fmt: skip


def _details(told: Mapping[str, Any]) -> Row:
    """Return what came with an answer from the browser, None where it did not or is of another kind.

    It comes from outside, and one value of a wrong type would keep a whole column from being written.
    """
    resizes, how = told.get("resizes"), told.get("input")
    numbers = {column: told.get(name) for column, name in _TOLD_NUMBERS.items()}
    return {
        "onset_utc": _seconds(told.get("onset_utc")), "input": how if isinstance(how, str) else None,
        "resizes": len(resizes) if isinstance(resizes, list) else None,
        **{column: value if is_number(value) else None for column, value in numbers.items()},
    }  # fmt: skip


_TOLD_NUMBERS = {
    "confidence_rt_ms": "confidence_rt_ms", "extra_rt_ms": "extra_rt_ms", "shown": "shown",
    "early_answers": "early_answers", "window_width": "width", "window_height": "height", "dpr": "dpr",
}  # fmt: skip


def _seconds(stamp: Any) -> float | None:
    """Return a browser's time stamp in UTC seconds; it comes from outside and may be anything."""
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _own(study: Opened, trial: Trial) -> Row:
    """Return the replies to the design's own questions by column."""
    replies, questions = trial.extra or {}, study.design.questions
    ratings = {rating_column(one.name): replies.get(one.name) for one in questions.ratings}
    return {**ratings, **{text_column(one.name): replies.get(one.name) for one in questions.texts}}


def _limit(trial: Trial) -> str | None:
    """Return which time limit ended a trial."""
    if not trial.timed_out:
        return None
    return "study" if never_shown(trial) else "trial"


def _correct(trial: Trial) -> int | None:
    wanted = trial.required or trial.reference_side
    if trial.choice is None or (trial.choice == "cannot_tell" and trial.required is None):
        return None
    return int(trial.choice == wanted)


def _participants(source: Source) -> Iterator[Row]:
    head = _study(source)
    for person in source.people:
        yield {**head, **_participant(source, person)}


def _participant(source: Source, person: Participant) -> Row:
    study, verdict, device = source.study, source.checks[person.uid], person.device or {}
    status = status_now(person.status, person.last_seen, study.design, source.now)
    return {
        **_who(person), "demo": study.row.demo, "status": status, "phase": person.phase,
        "code_kind": person.status if person.status in TERMINAL else None, "cell": person.cell,
        "condition": _arm(study, person.cell), "seed": person.seed, "included": verdict.included,
        "exclusion_reason": verdict.reason, "checks": json.dumps(verdict.told(), sort_keys=True),
        **{check_column(name): result.passed for name, result in verdict.results.items()},
        "started_utc": person.started, "consented_utc": person.consented,
        "consent_study_version": person.consent_version,
        "consent_design_version": person.consent_design_version, "consent_sha256": person.consent_sha256,
        "last_seen_utc": person.last_seen, "finished_utc": person.finished,
        "total_s": total_s(person),
        "instruction_s": instruction_s(source.pages.get(person.uid, ())),
        "comprehension_tries": person.comprehension_tries, "practice_rounds": person.practice_round,
        "practice_flagged": person.practice_flagged, "native": person.native, "window_width": device.get("width"),
        **{column: device.get(name) for column, name in _DEVICE.items()},
        "mobile": is_mobile(device) if device.get("browser") else None,
        "browser": browser_of(device), "os": os_of(device),
        "device": json.dumps({name: value for name, value in device.items() if name != "tab"}, sort_keys=True),
        **_counts(source.trials.get(person.uid, ())), "n_events": len(source.events.get(person.uid, ())),
        "comment": person.comment,
    }  # fmt: skip


_DEVICE = {
    "window_height": "height", "dpr": "dpr", "refresh_hz": "refresh_hz", "touch_points": "touch_points",
}  # fmt: skip


def _arm(study: Opened, cell: int | None) -> str | None:
    """Return the one condition that somebody meets, or None: all of them, or none yet."""
    if cell is None or study.design.arrangement != "between":
        return None
    return study.design.conditions[cells(study.design, study.stimuli)[cell].rotation]


def _counts(trials: Sequence[Trial]) -> Row:
    types = Counter(trial.type for trial in trials)
    later = [trial for trial in trials if trial.type != "practice"]
    return {
        **{f"n_{kind}": types[kind] for kind in ("practice", "main", "catch", "repeat", "attention")},
        "n_cannot_tell": sum(trial.choice == "cannot_tell" for trial in later),
        "n_timed_out": sum(bool(trial.timed_out) for trial in later),
        "n_focus_losses": sum(trial.n_focus_losses for trial in later),
    }  # fmt: skip


def _events(source: Source) -> Iterator[Row]:
    for person in source.people:
        for event in source.events.get(person.uid, ()):
            details = None if event.details is None else json.dumps(event.details, sort_keys=True)
            reason = (event.details or {}).get("reason")
            yield {**_who(person), "at_utc": event.at, "kind": event.kind, "reason": reason, "details": details}


def _pages(source: Source) -> Iterator[Row]:
    for person in source.people:
        pages = source.pages.get(person.uid, ())
        ends: list[float | None] = [*(page.at for page in pages[1:]), person.finished]
        part: int | None = None
        for page, end in zip(pages, ends, strict=False):
            move = None if part is None or page.part is None else "forward" if page.part > part else "back"
            part = page.part
            yield {
                **_who(person), "page": page.page, "instruction_page": part, "instruction_move": move,
                "at_utc": page.at, "seconds": None if end is None else end - page.at,
            }  # fmt: skip


ROWS: Mapping[str, Callable[[Source], Iterator[Row]]] = {
    "trials": _trials, "participants": _participants, "events": _events, "pages": _pages,
}  # fmt: skip
