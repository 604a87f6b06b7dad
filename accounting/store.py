"""How a batch of rows gets into `api_logs`, the sums by hour and the totals: in one transaction, exactly once.

Knows nothing of files, threads or retries. What a row is: `accounting.rows`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import OperationalError, connections, transaction
from django.db.backends.utils import CursorWrapper

from accounting import attempts, rollups, slots
from accounting.models import RequestLog
from accounting.record import COLUMNS
from accounting.rows import FLAGS, JSON, Row
from accounting.upserts import moment

_TABLE = RequestLog._meta.db_table
_TIMESTAMP = COLUMNS.index("timestamp")
_JSON = tuple(COLUMNS.index(name) for name in JSON)
_FLAGS = tuple(COLUMNS.index(name) for name in FLAGS)
_values = operator.attrgetter(*COLUMNS)


class _SomeAreStored(Exception):
    """Fewer rows were inserted than given."""


def add(rows: Sequence[Row], using: str) -> int:
    """Insert the rows that are not stored yet and count them in the sums; return how many those were.

    All or nothing: whatever is raised, nothing of the batch is stored.
    """
    try:
        return _add_new(rows, using)
    except _SomeAreStored:
        # After a crash, a segment is gone through again from its beginning. Rare, so only now is it asked which.
        try:
            return _add_new(_not_stored(rows, using), using)
        except _SomeAreStored:
            raise OperationalError("another process stored some of these requests just now") from None


def _add_new(rows: Sequence[Row], using: str) -> int:
    connection = connections[using]
    with transaction.atomic(using=using):
        if rows:
            with connection.cursor() as cursor:
                insert = _insert_each if connection.vendor == "sqlite" else _insert_together
                insert(rows, cursor)
                if cursor.rowcount != len(rows):
                    raise _SomeAreStored
            slots.add(rows, *rollups.add(rows, connection), connection)
            attempts.add(rows, connection)
    return len(rows)


def _not_stored(rows: Sequence[Row], using: str) -> list[Row]:
    """Those of `rows` that are not in the database; one of each where a request is there twice."""
    by_id = {row.request_id: row for row in reversed(rows)}
    with connections[using].cursor() as cursor:
        marks = ", ".join(["%s"] * len(by_id))
        cursor.execute(f"SELECT request_id FROM {_TABLE} WHERE request_id IN ({marks})", list(by_id))  # noqa: S608
        for (request_id,) in cursor.fetchall():
            del by_id[request_id]
    return list(reversed(by_id.values()))


def _insert_together(rows: Sequence[Row], cursor: CursorWrapper) -> None:
    """One statement with one parameter, the rows as JSON: binding forty columns of each row costs many times as much."""
    names = ", ".join(COLUMNS)
    values = names.replace("timestamp", "to_timestamp(timestamp)", 1)
    types = {field.attname: field.db_type(cursor.db) for field in RequestLog._meta.concrete_fields}
    types["timestamp"] = "double precision"
    typed = ", ".join(f"{name} {types[name]}" for name in COLUMNS)
    cursor.execute(
        f"INSERT INTO {_TABLE} ({names}) SELECT {values} FROM json_to_recordset(%s::json) AS line({typed}) "  # noqa: S608
        "ON CONFLICT (request_id) DO NOTHING",
        [msgspec.json.encode(rows).decode()],
    )


def _insert_each(rows: Sequence[Row], cursor: CursorWrapper) -> None:
    """A statement for each row, without the columns that are NULL in all of them.

    Those are a third of all in ordinary traffic, and binding them is a sixth of the whole insert.
    """
    by_column = zip(COLUMNS, zip(*map(_bound, rows), strict=True), strict=True)
    columns = [(name, values) for name, values in by_column if values.count(None) < len(rows)]
    names = ", ".join(name for name, _ in columns)
    marks = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {_TABLE} ({names}) VALUES ({marks}) ON CONFLICT (request_id) DO NOTHING"  # noqa: S608
    cursor.executemany(statement, list(zip(*(values for _, values in columns), strict=True)))


def _bound(row: Row) -> list[Any]:
    """The columns as SQLite keeps them."""
    values = list(_values(row))
    values[_TIMESTAMP] = moment(row.timestamp, "sqlite")
    for index in _JSON:
        text = str(values[index], "utf-8")
        values[index] = None if text == "null" else text
    for index in _FLAGS:
        # SQLite's module looks for an adapter for every `bool`.
        values[index] = int(values[index])
    return values
