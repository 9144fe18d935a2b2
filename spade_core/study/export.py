"""Export a study: one row a trial, with a codebook; blinded until somebody unblinds it.

Until then condition, method, correctness and stimulus file stay in the database. The shareable export has fresh random
participant numbers, no tokens, seeds or external ids, times relative to the start, and no free text.
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
from spade_core.study.checks import Checks, check_person
from spade_core.study.schedule import other_region
from spade_core.study.store import Store
from spade_core.study.studies import Opened, opened
from spade_core.study.tables import Participant, Trial

__all__ = ["BLINDED", "CODEBOOK", "FORMATS", "is_blind", "rows_of", "trial_table", "write"]

FORMATS = ("csv", "parquet", "json")
CODEBOOK: Mapping[str, tuple[str, str]] = {
    "study_id": ("text", "random id of the study"),
    "study_version": ("whole number", "version of its design"),
    "code_version": ("text", "version of the program that published it"),
    "participant_uid": ("text", "random id of the participation; in the shareable export a fresh number"),
    "is_bot": ("0/1", "a simulated participant: never data about people"),
    "is_preview": ("0/1", "an experimenter's preview"),
    "policy": ("text", "of a bot"),
    "simulated": ("text", "SIMULATED for bots and previews, else empty"),
    "demo": ("0/1", "the study tries the software and measures nothing"),
    "included": ("0/1", "whether the design's exclusions and the experimenter keep this person"),
    "exclusion_reason": ("text", "which of them do not"),
    "status": ("text", "active, complete, declined, screened_out or failed"),
    "cell": ("whole number", "which way of handing out conditions"),
    "trial_id": ("text", "random id of the trial"),
    "trial_index": ("whole number", "order; below 1000 practice"),
    "block_index": ("whole number", "counts breaks"),
    "trial_type": ("text", "practice, main, catch, repeat or attention"),
    "stimulus_id": ("text", "item of the stimulus set"),
    "picture_id": ("text", "photograph"),
    "class_neuron": ("text", "MODEL:CLASS"),
    "model_id": ("text", "model whose neuron was shown"),
    "condition": ("text", "dense, spade, none or reference; catch and practice trials look alike in all of them"),
    "reference_source": ("text", "trigger, or scorecam on the dense model"),
    "keeps_class": ("0/1", "whether the trace still ranks the class first"),
    "reference_side": ("text", "which region is the reference answer: region_1 or region_2"),
    "central_side": ("text", "what “the more central region” would answer"),
    "contrast_side": ("text", "what “the region of more contrast” would answer"),
    "rater_side_dense": ("text", "what the model rater answers from the dense visualization"),
    "rater_side_spade": ("text", "what the model rater answers from the SPADE visualization"),
    "choice": ("text", "region_1, region_2, cannot_tell; empty where the time was up"),
    "correct": ("0/1", "agrees with the reference; empty for cannot_tell and time-outs; attention: did as asked"),
    "confidence": ("1-3", "asked after the choice"),
    "rt_ms": ("ms", "from the exposed onset to the choice"),
    "rt_source": ("text", "browser, or server: not for analyses of response times"),
    "timed_out": ("0/1", "no answer within the limit"),
    "n_focus_losses": ("whole number", "how often the window lost the focus in this trial"),
    "repeat_of": ("text", "trial_id of the trial that is repeated"),
    "submitted_utc": ("s", "when the answer was stored; in the shareable export since the person's start"),
}
BLINDED = (
    "condition", "correct", "stimulus_id", "picture_id", "class_neuron", "reference_side", "reference_source",
    "keeps_class", "central_side", "contrast_side", "rater_side_dense", "rater_side_spade", "cell",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_blind(store: Store, study: Opened) -> bool:
    """Return whether conditions must stay hidden: real people took part and nobody has unblinded the study."""
    if study.row.unblinded is not None:
        return False
    real = select(Participant.uid).where(
        Participant.study_id == study.row.id, Participant.is_bot.is_(False), Participant.is_preview.is_(False),
        Participant.consented.is_not(None),
    )  # fmt: skip
    return store.run(lambda session: session.scalar(real.limit(1))) is not None


def trial_table(store: Store, key: str, *, shareable: bool = False, blind: bool | None = None) -> pd.DataFrame:
    """Return the answered trials of a study, one row each, columns as in ``CODEBOOK``.

    Args:
        shareable: anonymous; see above.
        blind: hide the columns of ``BLINDED``; None: as :func:`is_blind` says.
    """
    study = opened(store, key)
    hide = is_blind(store, study) if blind is None else blind
    table = pd.DataFrame(list(rows_of(store, study)), columns=list(CODEBOOK))
    if shareable:
        table = _anonymous(store, study, table)
    return table.drop(columns=list(BLINDED)) if hide else table


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
        "submitted_utc": trial.answered,
    }  # fmt: skip


def _correct(trial: Trial) -> int | None:
    wanted = trial.required or trial.reference_side
    if trial.choice is None or (trial.choice == "cannot_tell" and trial.required is None):
        return None
    return int(trial.choice == wanted)


def _anonymous(store: Store, study: Opened, table: pd.DataFrame) -> pd.DataFrame:
    """Give fresh numbers in random order, and times since each person's own start."""
    query = select(Participant.uid, Participant.started).where(Participant.study_id == study.row.id)
    started = {uid: at for uid, at in store.run(lambda session: session.execute(query).all())}  # noqa: C416 - rows
    uids = sorted(set(table["participant_uid"]), key=lambda _uid: secrets.randbits(64))
    numbers = {uid: f"p{number:04d}" for number, uid in enumerate(uids, 1)}
    table = table.copy()
    table["submitted_utc"] = table["submitted_utc"] - table["participant_uid"].map(started)
    table["participant_uid"] = table["participant_uid"].map(numbers)
    table = table.sort_values(["participant_uid", "trial_index"], ignore_index=True)
    keep = {uid: f"t{number:06d}" for number, uid in enumerate(table["trial_id"], 1)}  # says no more than that order
    table["trial_id"], table["repeat_of"] = table["trial_id"].map(keep), table["repeat_of"].map(keep)
    return table


def write(table: pd.DataFrame, form: str) -> bytes:
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
        codebook = {name: {"type": CODEBOOK[name][0], "meaning": CODEBOOK[name][1]} for name in table.columns}
        rows = json.loads(table.to_json(orient="records"))
        return json.dumps({"codebook": codebook, "rows": rows}, indent=1).encode()
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
