"""A page time says which page of the instructions it is about, so that a participant goes on at the same one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add ``page_times.part``, empty for times before single pages were noted."""
    op.add_column("page_times", sa.Column("part", sa.Integer(), nullable=True))
