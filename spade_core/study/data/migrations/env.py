"""What Alembic runs: the revisions, on the connection that it was given."""

from __future__ import annotations

from alembic import context

from spade_core.study.data.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite's too, since BEGIN is ours and not its driver's
)
with context.begin_transaction():
    context.run_migrations()
