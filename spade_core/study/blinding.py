"""What must stay hidden until somebody unblinds a study, and whether it must."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened
from spade_core.study.data.tables import Participant, Study
from spade_core.study.design.design import Design
from spade_core.study.export.codebook import text_column

BLINDED = (
    "condition", "correct", "stimulus_id", "picture_id", "class_neuron", "model_id", "reference_side",
    "reference_source", "keeps_class", "central_side", "contrast_side", "rater_side_dense", "rater_side_spade",
    "rater_side_reference", "cell", "seed",
)  # fmt: skip


def is_blind(store: Store, study: Opened) -> bool:
    """Return whether conditions must stay hidden: real people took part and nobody has unblinded the study."""
    return store.read(lambda session: blind_in(session, study.row))


def blind_in(session: Session, row: Study) -> bool:
    """Return the same as part of a transaction."""
    if row.unblinded is not None:
        return False
    real = select(Participant.uid).where(
        Participant.study_id == row.id, Participant.is_bot.is_(False), Participant.is_preview.is_(False),
        Participant.consented.is_not(None),
    )  # fmt: skip
    return session.scalar(real.limit(1)) is not None


def hidden_columns(design: Design) -> list[str]:
    """Return the columns that a blind export lacks.

    What people write about a trial is among them, since it may tell what they saw: “there was no second image”.
    """
    return [*BLINDED, *(text_column(question.name) for question in design.questions.texts)]
