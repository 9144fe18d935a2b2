"""A participant keeps the version of the design whose consent page they agreed to, beside the page's hash."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add ``participants.consent_version``, empty for those who agreed before it was kept."""
    op.add_column("participants", sa.Column("consent_version", sa.Integer(), nullable=True))
