"""Columns of one row, written at once: what every answer writes, a third of what the unit of work takes for it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, Update, bindparam, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from spade_core.study.data.tables import Participant, Trial, focus_losses


def write(session: Session, row: Participant | Trial, **values: Any) -> None:
    """Write columns of a row that a transaction has locked and read; the row has them from then on.

    What is assigned to other columns of the row is written with the transaction's end, as ever.
    """
    if "details" in values:
        values["n_focus_losses"] = focus_losses(values["details"])
    session.connection().execute(_UPDATES[type(row)], {_THIS: row.id if isinstance(row, Trial) else row.uid, **values})
    for name, value in values.items():
        set_committed_value(row, name, value)


def _update(table: object) -> Update:
    """Return the statement that sets the columns that it is executed with, in the row of a key."""
    if not isinstance(table, Table):
        raise TypeError(table)
    (key,) = table.primary_key
    return update(table).where(key == bindparam(_THIS))


_THIS = "this_row"  # a name that no column has
_UPDATES = {kind: _update(kind.__table__) for kind in (Participant, Trial)}
