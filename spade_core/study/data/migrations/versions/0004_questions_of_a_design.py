"""A trial keeps the replies to its design's own questions, and free texts their reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add ``trials.extra`` and the table ``text_reviews``; designs before had no questions of their own."""
    op.add_column("trials", sa.Column("extra", sa.JSON(), nullable=True))
    owner = sa.ForeignKey("participants.uid", ondelete="CASCADE")
    op.create_table(
        "text_reviews",
        sa.Column("text_id", sa.String(16), primary_key=True),
        sa.Column("participant_uid", sa.String(32), owner, nullable=False),
        sa.Column("decision", sa.String(8), nullable=False),
        sa.Column("words_sha256", sa.String(64), nullable=False),
        sa.Column("by", sa.String(120), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
    )
    op.create_index("ix_text_reviews_participant_uid", "text_reviews", ["participant_uid"])
