"""Focus losses get a column of their own, and deletions leave a tombstone.

The first version kept focus losses only in the JSON of ``trials.details``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BATCH = 1000  # trials in memory at once


def upgrade() -> None:
    """Add ``trials.n_focus_losses``, filled from the details, and the table ``tombstones``."""
    op.add_column("trials", sa.Column("n_focus_losses", sa.Integer(), nullable=False, server_default="0"))
    _fill()
    op.create_table(
        "tombstones",
        sa.Column("uid_sha256", sa.String(64), primary_key=True),
        sa.Column("study_id", sa.String(32), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
    )
    op.create_index("ix_tombstones_study_id", "tombstones", ["study_id"])


def _fill() -> None:
    """Count in Python: the two engines' JSON functions differ, and old rows may hold what nobody expects."""
    connection = op.get_bind()
    trials = sa.table("trials", sa.column("id"), sa.column("details", sa.JSON), sa.column("n_focus_losses"))
    counted: dict[str, sa.BindParameter[int]] = {"n_focus_losses": sa.bindparam("count")}
    write = trials.update().where(trials.c.id == sa.bindparam("of")).values(counted)
    last = ""
    while True:
        page = connection.execute(
            sa.select(trials.c.id, trials.c.details).where(trials.c.id > last).order_by(trials.c.id).limit(BATCH)
        ).all()
        if not page:
            return
        last = page[-1].id
        counts = [{"of": row.id, "count": _losses(row.details)} for row in page]
        if found := [entry for entry in counts if entry["count"]]:
            connection.execute(write, found)


def _losses(details: object) -> int:
    losses = details.get("focus_losses") if isinstance(details, dict) else None
    return len(losses) if isinstance(losses, list) else 0
