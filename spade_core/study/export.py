"""Export a study: one row a trial, with a codebook; blinded until somebody unblinds it.

Until then condition, method, correctness and stimulus file stay in the database. The shareable export has fresh random
participant numbers, no tokens, seeds or external ids, times relative to the start, and of the free texts those that
somebody has read and shared.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from sqlalchemy import select

from spade_core.errors import ConfigError
from spade_core.study.blinding import hidden_columns, is_blind
from spade_core.study.checks import Checks, check_person, rules_only
from spade_core.study.codebook import CODEBOOK, Entry, codebook_of, rating_column, text_column
from spade_core.study.free_texts import COMMENT, shared
from spade_core.study.schedule import other_region
from spade_core.study.store import Store
from spade_core.study.studies import Opened, opened
from spade_core.study.tables import Participant, Trial

__all__ = ["FORMATS", "export_file", "rows_of", "trial_table", "write"]

FORMATS = ("csv", "parquet", "json")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def trial_table(store: Store, key: str, *, shareable: bool = False, blind: bool | None = None) -> pd.DataFrame:
    """Return the answered trials of a study, one row each, columns as in its codebook.

    Args:
        shareable: anonymous; see above.
        blind: hide what :func:`spade_core.study.blinding.hidden_columns` names; None: as :func:`is_blind` says.
    """
    study = opened(store, key)
    hide = is_blind(store, study) if blind is None else blind
    table = pd.DataFrame(list(rows_of(store, study)), columns=list(codebook_of(study.design)))
    if shareable:
        table = _anonymous(store, study, _reviewed(store, study, table))
    return table.drop(columns=hidden_columns(study.design)) if hide else table


def export_file(store: Store, key: str, form: str, *, shareable: bool = False) -> tuple[bytes, int]:
    """Return a study's export as a file, with its codebook where the format has room for one, and its rows.

    Raises:
        ConfigError: no such study, or unknown format.
    """
    table = trial_table(store, key, shareable=shareable)
    return write(table, form, codebook_of(opened(store, key).design)), len(table)


def rows_of(store: Store, study: Opened) -> Iterator[dict[str, Any]]:
    """Yield the row of every answered trial."""
    with_trials = select(Participant, Trial).join(Trial, Trial.participant_uid == Participant.uid).where(
        Participant.study_id == study.row.id, Trial.answered.is_not(None)
    ).order_by(Participant.started, Participant.uid, Trial.index)  # fmt: skip
    pairs = store.run(lambda session: [(person, trial) for person, trial in session.execute(with_trials)])
    trials: dict[str, list[Trial]] = {}
    for person, trial in pairs:
        trials.setdefault(person.uid, []).append(trial)
    verdicts: dict[str, Checks] = {}
    for person, trial in pairs:
        if person.uid not in verdicts:
            verdicts[person.uid] = check_person(person, trials[person.uid], study.design)
        yield _row(study, person, trial, verdicts[person.uid])


def _row(study: Opened, person: Participant, trial: Trial, verdict: Checks) -> dict[str, Any]:
    item = study.stimuli.item(trial.stimulus_id)

    def side(answer: str | None) -> str | None:
        if answer is None:
            return None
        return trial.reference_side if answer == "reference" else other_region(trial.reference_side)

    return {
        "study_id": study.row.id, "study_version": study.design.version, "code_version": study.row.code_version,
        "participant_uid": person.uid, "is_bot": person.is_bot, "is_preview": person.is_preview,
        "policy": person.policy,
        "simulated": "SIMULATED" if person.is_bot or person.is_preview else "", "demo": study.row.demo,
        "included": verdict.included, "exclusion_reason": verdict.reason, "status": person.status, "cell": person.cell,
        "trial_id": trial.id, "trial_index": trial.index, "block_index": trial.block, "trial_type": trial.type,
        "stimulus_id": item.id, "picture_id": item.picture_id, "class_neuron": item.class_neuron,
        "model_id": item.model_id, "condition": trial.condition, "reference_source": item.reference_source,
        "keeps_class": item.keeps_class, "reference_side": trial.reference_side,
        "central_side": side(item.answers.get("central")), "contrast_side": side(item.answers.get("contrast")),
        "rater_side_dense": side(item.answers.get("rater_dense")),
        "rater_side_spade": side(item.answers.get("rater_spade")),
        "choice": trial.choice, "correct": _correct(trial), "confidence": trial.confidence, "rt_ms": trial.rt_ms,
        "rt_source": trial.rt_source, "timed_out": bool(trial.timed_out),
        "n_focus_losses": trial.n_focus_losses, "repeat_of": trial.repeat_of,
        "submitted_utc": trial.answered, "comment": person.comment, **_own(study, trial),
    }  # fmt: skip


def _own(study: Opened, trial: Trial) -> dict[str, Any]:
    """Return the replies to the design's own questions by column."""
    replies, questions = trial.extra or {}, study.design.questions
    ratings = {rating_column(one.name): replies.get(one.name) for one in questions.ratings}
    return {**ratings, **{text_column(one.name): replies.get(one.name) for one in questions.texts}}


def _correct(trial: Trial) -> int | None:
    wanted = trial.required or trial.reference_side
    if trial.choice is None or (trial.choice == "cannot_tell" and trial.required is None):
        return None
    return int(trial.choice == wanted)


def _reviewed(store: Store, study: Opened, table: pd.DataFrame) -> pd.DataFrame:
    """Keep only those free texts whose very words somebody has read and shared."""
    may = shared(store, study)
    table = table.copy()
    for column, name, owner in (
        (COMMENT, COMMENT, "participant_uid"),
        *((text_column(one.name), one.name, "trial_id") for one in study.design.questions.texts),
    ):
        keep = [(of, name) in may for of in table[owner]]
        table[column] = table[column].where(pd.Series(keep, index=table.index, dtype=bool), None)
    return table


def _anonymous(store: Store, study: Opened, table: pd.DataFrame) -> pd.DataFrame:
    """Give fresh numbers in random order, and times since each person's own start."""
    query = select(Participant.uid, Participant.started).where(Participant.study_id == study.row.id)
    started = {uid: at for uid, at in store.run(lambda session: session.execute(query).all())}  # noqa: C416 - rows
    uids = sorted(set(table["participant_uid"]), key=lambda _uid: secrets.randbits(64))
    numbers = {uid: f"p{number:04d}" for number, uid in enumerate(uids, 1)}
    table = table.copy()
    table["submitted_utc"] = table["submitted_utc"] - table["participant_uid"].map(started)
    table["participant_uid"] = table["participant_uid"].map(numbers)
    table["exclusion_reason"] = table["exclusion_reason"].map(rules_only)
    table = table.sort_values(["participant_uid", "trial_index"], ignore_index=True)
    keep = {uid: f"t{number:06d}" for number, uid in enumerate(table["trial_id"], 1)}  # says no more than that order
    table["trial_id"], table["repeat_of"] = table["trial_id"].map(keep), table["repeat_of"].map(keep)
    return table


def write(table: pd.DataFrame, form: str, codebook: Mapping[str, Entry] = CODEBOOK) -> bytes:
    """Return the table as a file: CSV (UTF-8 with a mark for spreadsheets), Parquet, or JSON with its codebook.

    Raises:
        ConfigError: unknown format.
    """
    if form == "csv":
        return _csv(table)
    if form == "parquet":
        out = io.BytesIO()
        table.to_parquet(out, index=False)
        return out.getvalue()
    if form == "json":
        told = {name: dict(zip(("type", "meaning"), codebook[name], strict=True)) for name in table.columns}
        rows = json.loads(table.to_json(orient="records"))
        return json.dumps({"codebook": told, "rows": rows}, indent=1).encode()
    raise ConfigError(f"There is no export format “{form}”: take {', '.join(FORMATS)}.")


def _csv(table: pd.DataFrame) -> bytes:
    safe = table.copy()
    for name in safe.columns:
        if safe[name].dtype == bool:
            safe[name] = safe[name].astype(int)
        elif safe[name].dtype == object or isinstance(safe[name].dtype, pd.StringDtype):
            safe[name] = safe[name].map(_cell)
    return b"\xef\xbb\xbf" + safe.to_csv(index=False).encode()


def _cell(value: Any) -> Any:
    """Keep a spreadsheet from taking text for a formula, and a row on one line."""
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return value
    flat = " ".join(value.splitlines())
    return "'" + flat if flat.startswith(_FORMULA) else flat
