"""A participant keeps which saved version of the design they agreed to, beside the version that it gave itself.

The design's own version is what its author typed, and two saved versions may carry the same one; the saved version's
number names one text. Whoever agreed before this was kept agreed to the last saved version: a design is frozen once a
person has begun, and bots and previews go with an edit.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add ``participants.consent_design_version``, filled in for everybody who has agreed."""
    op.add_column("participants", sa.Column("consent_design_version", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE participants SET consent_design_version = (SELECT MAX(number) FROM design_versions "
        "WHERE design_versions.study_id = participants.study_id) WHERE consented IS NOT NULL"
    )
