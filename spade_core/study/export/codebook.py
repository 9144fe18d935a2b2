"""The columns of an export's tables: what each means, where a row holds it, and which exports it is left out of.

A design's own questions add theirs to the trials. Whoever adds a column adds one entry here, and where it is computed a
property of the row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from spade_core.study import vocabulary as words
from spade_core.study.design.design import Design, QualityRule
from spade_core.study.design.questions import column_of

Storage = Literal["text", "whole", "number"]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        kind: type or unit; meaning: in words.
        path: attributes and keys that lead to it from a row of :mod:`spade_core.study.export.rows`; empty: the row has
            it under the column's own name.
        blind: left out while the study is blind; private: left out of shareable exports.
    """

    kind: str
    meaning: str
    path: str = ""
    blind: bool = False
    private: bool = False

    def of(self, row: object, name: str) -> object:
        """Return a row's value for this column of this name; None where the path breaks off."""
        for part in (self.path or name).split("."):
            row = row.get(part) if isinstance(row, Mapping) else None if row is None else getattr(row, part)
        return row

    @property
    def storage(self) -> Storage:
        """Return what a program reads it as; px are numbers, as browsers may give fractions of them."""
        if self.kind in ("text", "JSON"):
            return "text"
        return "whole" if self.kind in ("whole number", "0/1") or re.fullmatch(r"-?\d+--?\d+", self.kind) else "number"


def _or(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


_text, _whole, _flag = partial(Column, "text"), partial(Column, "whole number"), partial(Column, "0/1")
_seconds, _px, _json = partial(Column, "s"), partial(Column, "px"), partial(Column, "JSON")
_hidden = partial(Column, "text", blind=True)

_STUDY: Mapping[str, Column] = {
    "study_id": _text("random id of the study", "source.study.row.id"),
    "study_version": _whole(
        "version that the design gives itself, as its author typed it", "source.study.design.version"
    ),
    "design_version": _whole(
        "number of the design's saved version, from 1; “study versions” lists them", "source.version"
    ),
    "design_sha256": _text("of the design", "source.study.row.design_sha256"),
    "code_version": _text("version of the program that published it", "source.study.row.code_version"),
    "class_shown": _flag(
        "the variant whose question names the class, so that the visualization can be ignored",
        "source.study.design.show_class",
    ),
    "conditions_seen": _text("when conditions were first seen by the experimenters, UTC; empty: not yet"),
    "completed_when_seen": _whole("people kept by the analysis who had completed when conditions were first seen"),
    "interim_reason": _text(
        "why conditions were seen before data collection was over, which makes all results exploratory",
        "source.unblinding.interim",
    ),
    "seen_by": _text("who first saw them; not in the shareable export", "source.unblinding.by", private=True),
}
STUDY_COLUMNS = tuple(_STUDY)  # the same in every row of a study
_WHO: Mapping[str, Column] = {
    "participant_uid": _text("random id of the participation; in the shareable export a fresh number", "person.uid"),
    "is_bot": _flag("a simulated participant: never data about people", "person.is_bot"),
    "is_preview": _flag("an experimenter's preview", "person.is_preview"),
    "policy": _text("of a bot", "person.policy"),
    "simulated": _text(f"{words.SIMULATED} for bots and previews, else empty"),
}
_DEMO = _flag("the study tries the software and measures nothing", "source.study.row.demo")
_INCLUDED = _flag("whether the design's exclusions and the experimenter keep this person", "verdict.included")
_REASON = _text("which of them do not; the experimenter's words are left out of the shareable export", "verdict.reason")
_CELL = _whole("which way of handing out conditions", "person.cell", blind=True)
_SEED = _text(
    "of this person's schedule, 128 bits; hidden while blind, and not in the shareable export",
    "person.seed",
    blind=True,
    private=True,
)

CODEBOOK: Mapping[str, Column] = {
    **_STUDY,
    **_WHO,
    "demo": _DEMO,
    "included": _INCLUDED,
    "exclusion_reason": _REASON,
    "status": _text(_or((words.ACTIVE, *words.TERMINAL)), "person.status"),
    "cell": _CELL,
    "seed": _SEED,
    "trial_id": _text("random id of the trial", "trial.id"),
    "trial_index": _whole("order; below 1000 practice", "trial.index"),
    "block_index": _whole("counts breaks", "trial.block"),
    "trial_type": _text(_or(words.TRIAL_TYPES), "trial.type"),
    "practice_round": _whole("from 1; empty after practice"),
    "stimulus_id": _hidden("item of the stimulus set", "item.id"),
    "picture_id": _hidden("photograph", "item.picture_id"),
    "class_neuron": _hidden("MODEL:CLASS", "item.class_neuron"),
    "model_id": _hidden("model whose neuron was shown", "item.model_id"),
    "condition": _hidden(
        f"{_or(words.CONDITIONS)}; catch and practice trials look alike in all of them", "trial.condition"
    ),
    "reference_source": _hidden("trigger, or scorecam on the dense model", "item.reference_source"),
    "keeps_class": _flag("whether the trace still ranks the class first", "item.keeps_class", blind=True),
    "reference_side": _hidden(f"which region is the reference answer: {_or(words.REGIONS)}", "trial.reference_side"),
    **{baseline.column: _hidden(baseline.meaning, f"sides.{name}") for name, baseline in words.BASELINES.items()},
    "required": _text("the answer that an attention trial asks for", "trial.required"),
    "choice": _text(f"{', '.join(words.CHOICES)}; empty where the time was up", "trial.choice"),
    "correct": _flag(
        f"agrees with the reference; empty for {words.CANNOT_TELL} and time-outs; attention: did as asked", blind=True
    ),
    "confidence": Column(words.confidence_scale("-"), "asked after the choice", "trial.confidence"),
    "rt_ms": Column("ms", "from the exposed onset to the choice", "trial.rt_ms"),
    "rt_source": _text("browser; server, or reloaded (shown before): not for analyses of times", "trial.rt_source"),
    "timed_out": _flag("no answer within the limit", "trial.timed_out"),
    "timed_out_by": _text("whose limit that was: trial, or study (the trial was still to come); empty: answered"),
    "n_focus_losses": _whole("how often the window lost the focus in this trial", "trial.n_focus_losses"),
    "repeat_of": _text("trial_id of the trial that is repeated", "trial.repeat_of"),
    "submitted_utc": _seconds(
        "when the answer was stored; in the shareable export since the person's start", "trial.answered"
    ),
    "onset_utc": _seconds(
        "when the picture was exposed, by the browser's clock; shareable: since the person's start", "details.onset_s"
    ),
    "confidence_rt_ms": Column("ms", "from the choice to the confidence", "details.confidence_rt_ms"),
    "extra_rt_ms": Column("ms", "from the confidence to the end of the design's own questions", "details.extra_rt_ms"),
    "input": _text("mouse, keyboard and the like, as the browser says", "details.input"),
    "shown": _whole("how often the trial was shown, reloads included", "details.shown"),
    "early_answers": _whole("answers before the minimum viewing time, which do not count", "details.early_answers"),
    "resizes": _whole("how often the window changed its size in this trial"),
    "window_width": _px("of the window at the answer", "details.width"),
    "window_height": _px("of the window at the answer", "details.height"),
    "dpr": Column("number", "device pixels to a pixel", "details.dpr"),
    "comment": _text(
        "the participant's closing comment, on all rows; in the shareable export once reviewed", "person.comment"
    ),
}
_PARTICIPANTS: Mapping[str, Column] = {
    **_STUDY,
    **_WHO,
    "demo": _DEMO,
    "status": _text(
        f"{words.ACTIVE}, {words.LEFT} (idle longer than “expire_minutes”), {_or(words.TERMINAL)}", "status"
    ),
    "phase": _text("where the person is, or was last", "person.phase"),
    "code_kind": _text("which completion code was given; empty: none"),
    "cell": _CELL,
    "condition": _hidden("the one condition of somebody between participants; empty within", "arm"),
    "seed": _SEED,
    "included": _INCLUDED,
    "exclusion_reason": _REASON,
    "checks": _json("every data-quality rule: passed or not, null where there is nothing to judge, and by what"),
    **{
        f"check_{name}": _flag(
            f"the rule “{name}” of the design is met; empty: nothing to judge yet", f"verdict.results.{name}.passed"
        )
        for name in get_args(QualityRule)
    },
    "started_utc": _seconds("entry; in the shareable export 0", "person.started"),
    "consented_utc": _seconds("consent, empty where it was not given; shareable: since the start", "person.consented"),
    "consent_study_version": _whole(
        "study_version of the text that was agreed to; empty: none was", "person.consent_version"
    ),
    "consent_design_version": _whole(
        "design_version of that text, which names it for good", "person.consent_design_version"
    ),
    "consent_sha256": _text("of all that the consent page showed", "person.consent_sha256"),
    "last_seen_utc": _seconds("the last sign of life; shareable: since the start", "person.last_seen"),
    "finished_utc": _seconds("the end, empty before; shareable: since the start", "person.finished"),
    "total_s": _seconds("from entry to the end", "person.total_s"),
    "instruction_s": _seconds(
        "from the first page of the instructions to what came after the last",
        "verdict.results.instruction_time.details.seconds",
    ),
    "comprehension_tries": _whole("attempts at the comprehension check", "person.comprehension_tries"),
    "practice_rounds": _whole("finished rounds of practice", "person.practice_round"),
    "practice_flagged": _flag("went on although the last round of practice was not passed", "person.practice_flagged"),
    "native": _flag("trials as a plain form, chosen before the first", "person.native"),
    "window_width": _px("of the window at the device check", "machine.width"),
    "window_height": _px("of the window at the device check", "machine.height"),
    "dpr": Column("number", "device pixels to a pixel at the device check", "machine.dpr"),
    "refresh_hz": Column(
        "Hz", "how often the browser drew, median over 30 frames or more; empty: not measured", "machine.refresh_hz"
    ),
    "touch_points": _whole("contacts that the screen can tell apart; 0: no touch screen", "machine.touch_points"),
    "mobile": _flag("a phone or tablet, by what the browser said"),
    "browser": _text("its name and main version; not in the shareable export", "machine.browser_name", private=True),
    "os": _text("operating system; not in the shareable export", "machine.os_name", private=True),
    "device": _json("what the browser said at the device check; not in the shareable export", private=True),
    "n_practice": _whole("answered practice trials", "counts.practice"),
    "n_main": _whole("answered main trials, those timed out among them", "counts.main"),
    "n_catch": _whole("answered catch trials", "counts.catch"),
    "n_repeat": _whole("answered repeated trials", "counts.repeat"),
    "n_attention": _whole("answered attention checks", "counts.attention"),
    "n_cannot_tell": _whole("answers “cannot tell” after practice", "counts.cannot_tell"),
    "n_timed_out": _whole("trials after practice without an answer in time", "counts.timed_out"),
    "n_focus_losses": _whole("how often the window lost the focus after practice", "counts.focus_losses"),
    "n_events": _whole("rows of the table of events", "counts.events"),
    "comment": _text("the closing comment; in the shareable export once reviewed", "person.comment"),
}
_WHEN = "when; in the shareable export since the person's start"
_EVENTS: Mapping[str, Column] = {
    **_WHO,
    "at_utc": _seconds(_WHEN, "event.at"),
    "kind": _text("what happened: a refused answer, another tab, entered again, a mobile device refused", "event.kind"),
    "reason": _text("why an answer was refused", "event.details.reason"),
    "details": _json("the rest; not in the shareable export", private=True),
}
_PAGES: Mapping[str, Column] = {
    **_WHO,
    "page": _text(
        "that the person reached; one row for every page of the instructions and every turn back", "page.page"
    ),
    "instruction_page": _whole("which page of the instructions, from 1; empty elsewhere", "page.part"),
    "instruction_move": _text("how the person came to it from another page of the instructions: forward, back", "move"),
    "at_utc": _seconds(_WHEN, "page.at"),
    "seconds": _seconds("to the next page or the end; empty for the last one of who has not finished"),
}

CODEBOOKS: Mapping[str, Mapping[str, Column]] = {
    "trials": CODEBOOK,
    "participants": _PARTICIPANTS,
    "events": _EVENTS,
    "pages": _PAGES,
}
"""The columns of each table of every study."""
BLINDED = tuple(dict.fromkeys(name for table in CODEBOOKS.values() for name, column in table.items() if column.blind))


def codebook_of(design: Design, table: str = "trials") -> dict[str, Column]:
    """Return the columns of a table of a study's export; trials also have its own questions."""
    if table != "trials":
        return dict(CODEBOOKS[table])
    asked = {
        one.column: Column(one.unit, one.meaning, f"trial.extra.{one.name}", blind=one.hidden)
        for one in design.questions.listed
    }
    return {**CODEBOOK, **asked}


def hidden_columns(design: Design) -> list[str]:
    """Return the columns that a blind export lacks."""
    return [*BLINDED, *(question.column for question in design.questions.extra if question.hidden)]


def rating_column(name: str) -> str:
    """Return the column of a rating."""
    return column_of("rating", name)
