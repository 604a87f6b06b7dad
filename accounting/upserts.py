"""Adding to rows that may or may not be there, many of them in one statement, the same on SQLite and PostgreSQL.

A statement for each row would cost more than all else that is done for a batch. Pure SQL: knows of no table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.backends.utils import CursorWrapper

from accounting import statements


@dataclass(frozen=True, slots=True)
class Upsert:
    """How to add to `table`: a row is found by `target`, columns or expressions that are unique, and has the columns `found_by`
    and `added`, which are numbers, in the order in which `run` is given them.

    `kept` is only written with a new row, `latest` keeps the greater of two. `returning`: what `run` gives of each row.
    """

    table: str
    target: str
    found_by: tuple[str, ...]
    added: tuple[str, ...]
    kept: tuple[str, ...] = ()
    latest: tuple[str, ...] = ()
    returning: tuple[str, ...] = ()
    _marks: str = field(init=False)
    _before: str = field(init=False)
    _after: str = field(init=False)

    def __post_init__(self) -> None:
        columns = (*self.found_by, *self.added, *self.kept, *self.latest)
        changes = [self._addition(name) for name in self.added]
        for name in self.latest:
            later = f"excluded.{name} > {self.table}.{name}"
            changes.append(f"{name} = CASE WHEN {later} THEN excluded.{name} ELSE {self.table}.{name} END")
        # Where there is nothing to add, a change that changes nothing locks the row and lets it be returned.
        changes = changes or [f"{self.found_by[0]} = excluded.{self.found_by[0]}"]
        returned = f" RETURNING {', '.join(self.returning)}" if self.returning else ""
        object.__setattr__(self, "_marks", f"({', '.join(['%s'] * len(columns))})")
        object.__setattr__(self, "_before", f"INSERT INTO {self.table} ({', '.join(columns)}) VALUES ")  # noqa: S608
        object.__setattr__(self, "_after", f" ON CONFLICT ({self.target}) DO UPDATE SET {', '.join(changes)}{returned}")

    def run(self, rows: Sequence[Sequence[Any]], cursor: CursorWrapper) -> list[tuple[Any, ...]]:
        """Add `rows`, no two of which are the same one, and which are locked in this order until the transaction ends.

        What it returns may be in any order.
        """
        returned: list[tuple[Any, ...]] = []
        for part in statements.parts(rows) if cursor.db.vendor == "sqlite" else filter(None, [rows]):
            statement = self._before + ", ".join([self._marks] * len(part)) + self._after
            cursor.execute(statement, [value for row in part for value in row])
            if self.returning:
                returned += cursor.fetchall()
        return returned

    def _addition(self, name: str) -> str:
        together = f"{self.table}.{name} + excluded.{name}"
        # SQLite adds decimals as floating point; rounding to the column's scale keeps that from ever adding up.
        return f"{name} = ROUND({together}, 12)" if name == "cost_usd" else f"{name} = {together}"


def epoch_s(moment: datetime) -> int:
    """A whole moment as a database returns it, in epoch seconds. SQLite knows no zones: what it returns is UTC."""
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def moment(timestamp: float, vendor: str) -> Any:
    """Epoch seconds as a column of that database's vendor takes them: `adapt_datetimefield_value` in a tenth of its time."""
    at = datetime.fromtimestamp(timestamp, UTC)
    return str(at.replace(tzinfo=None)) if vendor == "sqlite" else at
