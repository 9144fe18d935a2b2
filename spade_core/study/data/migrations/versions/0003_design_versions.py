"""Every saved version of a design is kept; what a study had until now becomes its first one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEPT = ("design", "design_sha256", "stimuli", "stimuli_sha256")


def upgrade() -> None:
    """Create ``design_versions`` and fill it from the studies."""
    op.create_table(
        "design_versions",
        sa.Column("study_id", sa.String(32), sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("design", sa.Text(), nullable=False),
        sa.Column("design_sha256", sa.String(64), nullable=False),
        sa.Column("stimuli", sa.Text(), nullable=False),
        sa.Column("stimuli_sha256", sa.String(64), nullable=False),
        sa.Column("saved", sa.Float(), nullable=False),
    )
    studies = sa.table("studies", *map(sa.column, ("id", "created", *_KEPT)))
    versions = sa.table("design_versions", *map(sa.column, ("study_id", "number", *_KEPT, "saved")))
    first = sa.select(studies.c.id, sa.literal(1), *(studies.c[name] for name in _KEPT), studies.c.created)
    op.get_bind().execute(versions.insert().from_select(["study_id", "number", *_KEPT, "saved"], first))
