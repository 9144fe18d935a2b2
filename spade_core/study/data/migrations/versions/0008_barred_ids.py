"""Whoever failed a check and withdraws leaves a keyed hash of their id, so that it cannot begin the study again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table ``barred_ids``."""
    op.create_table(
        "barred_ids",
        sa.Column("id_hmac", sa.String(64), primary_key=True),
        sa.Column("study_id", sa.String(32), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
    )
    op.create_index("ix_barred_ids_study_id", "barred_ids", ["study_id"])
