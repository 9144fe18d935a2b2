"""The tables of the first version.

Written out, since it must stay what it was while ``tables.py`` goes on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create studies, participants, external ids, trials, events, page times and audit."""
    _studies()
    _participants()
    _external_ids()
    _trials()
    _events_and_page_times()
    _audit()


def _text(name: str, length: int, *, nullable: bool = False, unique: bool = False) -> sa.Column:
    return sa.Column(name, sa.String(length), nullable=nullable, unique=unique or None)


def _uid(*, primary_key: bool = False) -> sa.Column:
    target = sa.ForeignKey("participants.uid", ondelete="CASCADE")
    return sa.Column("participant_uid", sa.String(32), target, primary_key=primary_key, nullable=False)


def _study_id() -> sa.Column:
    return sa.Column("study_id", sa.String(32), sa.ForeignKey("studies.id", ondelete="CASCADE"), nullable=False)


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.String(32), primary_key=True),
        _text("key", 32, unique=True),
        _text("name", 120),
        _text("status", 12),
        sa.Column("design", sa.Text(), nullable=False),
        _text("design_sha256", 64),
        sa.Column("stimuli", sa.Text(), nullable=False),
        _text("stimuli_sha256", 64),
        sa.Column("demo", sa.Boolean(), nullable=False),
        _text("code_version", 40),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("frozen", sa.Float()),
        sa.Column("unblinded", sa.Float()),
    )


def _participants() -> None:
    op.create_table(
        "participants",
        sa.Column("uid", sa.String(32), primary_key=True),
        _study_id(),
        sa.Column("is_bot", sa.Boolean(), nullable=False),
        sa.Column("is_preview", sa.Boolean(), nullable=False),
        _text("policy", 40, nullable=True),
        _text("phase", 16),
        _text("status", 16),
        sa.Column("cell", sa.Integer()),
        _text("seed", 32),
        _text("resume_sha256", 64, unique=True),
        _text("withdrawal_sha256", 64, nullable=True, unique=True),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("consented", sa.Float()),
        _text("consent_sha256", 64, nullable=True),
        sa.Column("last_seen", sa.Float(), nullable=False),
        sa.Column("finished", sa.Float()),
        sa.Column("comprehension_tries", sa.Integer(), nullable=False),
        sa.Column("practice_round", sa.Integer(), nullable=False),
        sa.Column("practice_flagged", sa.Boolean(), nullable=False),
        sa.Column("native", sa.Boolean(), nullable=False),
        _text("excluded", 200, nullable=True),
        sa.Column("comment", sa.Text()),
        sa.Column("device", sa.JSON()),
    )
    op.create_index("ix_participants_study_id", "participants", ["study_id"])
    op.create_index("participants_cells", "participants", ["study_id", "is_bot", "is_preview", "cell"])


def _external_ids() -> None:
    op.create_table(
        "external_ids",
        _uid(primary_key=True),
        _study_id(),
        _text("external_id", 120),
        sa.Column("details", sa.JSON()),
        sa.UniqueConstraint("study_id", "external_id"),
    )
    op.create_index("ix_external_ids_study_id", "external_ids", ["study_id"])


def _trials() -> None:
    op.create_table(
        "trials",
        sa.Column("id", sa.String(32), primary_key=True),
        _uid(),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        _text("type", 12),
        _text("stimulus_id", 32),
        _text("condition", 12),
        _text("reference_side", 12),
        _text("required", 12, nullable=True),
        _text("repeat_of", 32, nullable=True),
        sa.Column("answered", sa.Float()),
        _text("choice", 12, nullable=True),
        sa.Column("confidence", sa.Integer()),
        sa.Column("rt_ms", sa.Float()),
        _text("rt_source", 8, nullable=True),
        sa.Column("timed_out", sa.Boolean()),
        sa.Column("details", sa.JSON()),
        sa.UniqueConstraint("participant_uid", "index"),
    )
    op.create_index("ix_trials_participant_uid", "trials", ["participant_uid"])


def _events_and_page_times() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        _uid(),
        sa.Column("at", sa.Float(), nullable=False),
        _text("kind", 40),
        sa.Column("details", sa.JSON()),
    )
    op.create_index("ix_events_participant_uid", "events", ["participant_uid"])
    op.create_table(
        "page_times",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        _uid(),
        _text("page", 40),
        sa.Column("at", sa.Float(), nullable=False),
    )
    op.create_index("ix_page_times_participant_uid", "page_times", ["participant_uid"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        _text("study_id", 32, nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        _text("action", 40),
        sa.Column("details", sa.JSON()),
    )
