"""How a batch of rows gets into `api_logs`, the sums by hour and the totals: in one transaction, exactly once.

Knows nothing of files, threads or retries. What a row is: `accounting.rows`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from accounting import attempts, rollups, slots, statements
from accounting.models import RequestLog
from accounting.record import COLUMNS
from accounting.rows import FLAGS, JSON, Row
from accounting.upserts import moment

_TABLE = RequestLog._meta.db_table
_TIMESTAMP = COLUMNS.index("timestamp")
_JSON = tuple(COLUMNS.index(name) for name in JSON)
_FLAGS = tuple(COLUMNS.index(name) for name in FLAGS)
MOST_SETS = 4
_sets: list[tuple[str, ...]] = []
"""The sets of columns that have been bound together by the one thread that writes, the smallest first."""
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
            insert = _insert_in_parts if connection.vendor == "sqlite" else _insert_together
            if insert(rows, connection) != len(rows):
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


def _insert_together(rows: Sequence[Row], connection: BaseDatabaseWrapper) -> int:
    """One statement with one parameter, the rows as JSON: binding forty columns of each row costs many times as much."""
    names = ", ".join(COLUMNS)
    values = names.replace("timestamp", "to_timestamp(timestamp)", 1)
    types = {field.attname: field.db_type(connection) for field in RequestLog._meta.concrete_fields}
    types["timestamp"] = "double precision"
    typed = ", ".join(f"{name} {types[name]}" for name in COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_TABLE} ({names}) SELECT {values} FROM json_to_recordset(%s::json) AS line({typed}) "  # noqa: S608
            "ON CONFLICT (request_id) DO NOTHING",
            [msgspec.json.encode(rows).decode()],
        )
        return int(cursor.rowcount)


def _insert_in_parts(rows: Sequence[Row], connection: BaseDatabaseWrapper) -> int:
    """Few statements, each of many rows, without columns that are NULL in all of them. Gives how many rows were stored.

    Those columns are a third of all in ordinary traffic, and binding them is a sixth of the whole insert. A statement for each
    row makes SQLite's module give the interpreter's lock away, and wait for it, at each.
    """
    by_column = dict(zip(COLUMNS, zip(*map(_bound, rows), strict=True), strict=True))
    columns = _bound_together({name for name, values in by_column.items() if values.count(None) < len(rows)})
    values = list(zip(*(by_column[name] for name in columns), strict=True))
    stored = 0
    # Not through Django's cursor, which would look for "%s" in each statement: a tenth of the insert.
    with connection.wrap_database_errors:
        for part in statements.parts(values):
            statement = _statement(columns, len(part))
            stored += connection.connection.execute(statement, [*chain.from_iterable(part)]).rowcount
    return stored


def _bound_together(needed: set[str]) -> tuple[str, ...]:
    """The columns of the statements for rows that need these: a set that others had before, so that few are ever prepared.

    See `statements`.
    """
    for columns in _sets:
        if needed.issubset(columns):
            return columns
    if len(_sets) == MOST_SETS:
        return COLUMNS
    found = tuple(name for name in COLUMNS if name in needed)
    _sets.append(found)
    _sets.sort(key=len)
    return found


@lru_cache(maxsize=64)
def _statement(columns: tuple[str, ...], rows: int) -> str:
    marks = ", ".join([f"({', '.join('?' * len(columns))})"] * rows)
    return f"INSERT INTO {_TABLE} ({', '.join(columns)}) VALUES {marks} ON CONFLICT (request_id) DO NOTHING"  # noqa: S608


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
