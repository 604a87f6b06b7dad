"""How a batch of journal lines becomes rows of `api_logs`, hourly sums and totals: in one transaction, exactly once.

Knows what the columns hold: lengths, ranges, forms. Knows nothing of files, threads or retries.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from django.db import OperationalError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.operations import BaseDatabaseOperations

from accounting import attempts, rollups, slots
from accounting.lines import Line
from accounting.models import RequestLog
from accounting.record import COLUMNS

_FIELDS = {field.attname: field for field in RequestLog._meta.concrete_fields if field.attname in COLUMNS}
_TEXTS = tuple(
    (name, field.max_length or 1 << 31)
    for name, field in _FIELDS.items()
    if isinstance(field, models.CharField | models.TextField)
)
_INTEGERS = tuple(
    (name, *BaseDatabaseOperations.integer_field_ranges[kind])
    for name, field in _FIELDS.items()
    if (kind := "BigIntegerField" if field.is_relation else field.get_internal_type())
    in BaseDatabaseOperations.integer_field_ranges
)
_FLOATS = tuple(name for name, field in _FIELDS.items() if isinstance(field, models.FloatField))
_JSON = tuple(COLUMNS.index(name) for name, field in _FIELDS.items() if isinstance(field, models.JSONField))
_TIMESTAMP = COLUMNS.index("timestamp")
_values = operator.itemgetter(*COLUMNS)

_END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def fit(line: Line) -> Line:
    """`line`, changed so that the columns can hold it: texts are cut, numbers brought into range.

    Raises `ValueError`, `TypeError` or `ArithmeticError` where a value is of the wrong kind altogether.
    """
    for name, longest in _TEXTS:
        value = line[name]
        if value is not None and (type(value) is not str or len(value) > longest):
            line[name] = str(value)[:longest]
    for name, lowest, highest in _INTEGERS:
        value = line[name]
        if value is not None and not (type(value) is int and lowest <= value <= highest):
            line[name] = min(max(int(value), lowest), highest)
    for name in _FLOATS:
        value = line[name]
        if value is not None and type(value) is not float:
            line[name] = float(value)
    if not Decimal(line["cost_usd"]).is_finite():
        raise ValueError(f"cost_usd is {line['cost_usd']}, which is no amount")
    if not 0 <= line["timestamp"] < _END_OF_TIME:
        raise ValueError(f"timestamp is {line['timestamp']}, which is no time of this era in epoch seconds")
    return line


class _SomeAreStored(Exception):
    """Fewer rows were inserted than given."""


def add(lines: Sequence[Line], using: str) -> int:
    """Insert the lines that are not stored yet and count them in the sums; return how many those were.

    The lines must have been through `fit`. All or nothing: whatever is raised, nothing of the batch is stored.
    """
    try:
        return _add_new(lines, using)
    except _SomeAreStored:
        # After a crash, a segment is gone through again from its beginning. Rare, so only now is it asked which.
        try:
            return _add_new(_not_stored(lines, using), using)
        except _SomeAreStored:
            raise OperationalError("another process stored some of these requests just now") from None


def _add_new(lines: Sequence[Line], using: str) -> int:
    connection = connections[using]
    with transaction.atomic(using=using):
        if lines:
            with connection.cursor() as cursor:
                cursor.executemany(*_insert(list(_rows(lines, connection))))
                if cursor.rowcount != len(lines):
                    raise _SomeAreStored
            slots.add(lines, *rollups.add(lines, connection), connection)
            attempts.add(lines, connection)
    return len(lines)


def _not_stored(lines: Sequence[Line], using: str) -> list[Line]:
    """Those of `lines` that have no row; one of each where a request is there twice."""
    by_id = {line["request_id"]: line for line in reversed(lines)}
    with connections[using].cursor() as cursor:
        marks = ", ".join(["%s"] * len(by_id))
        table = RequestLog._meta.db_table
        cursor.execute(f"SELECT request_id FROM {table} WHERE request_id IN ({marks})", list(by_id))  # noqa: S608
        for (request_id,) in cursor.fetchall():
            del by_id[request_id]
    return list(reversed(by_id.values()))


def _rows(lines: Sequence[Line], connection: BaseDatabaseWrapper) -> Iterator[list[Any]]:
    is_sqlite = connection.vendor == "sqlite"
    for line in lines:
        row = list(_values(line))
        moment = datetime.fromtimestamp(line["timestamp"], UTC)
        # What `adapt_datetimefield_value` comes to, in a tenth of its time.
        row[_TIMESTAMP] = str(moment.replace(tzinfo=None)) if is_sqlite else moment
        for index in _JSON:
            if row[index] is not None:
                row[index] = orjson.dumps(row[index]).decode()
        yield row


def _insert(rows: list[list[Any]]) -> tuple[str, list[tuple[Any, ...]]]:
    """The statement that inserts `rows`, and its parameters, without the columns that are NULL in all of them.

    Those are a third of all in ordinary traffic, and binding them is a sixth of the whole insert.
    """
    by_column = zip(COLUMNS, zip(*rows, strict=True), strict=True)
    columns = [(name, values) for name, values in by_column if values.count(None) < len(rows)]
    names = ", ".join(name for name, _ in columns)
    marks = ", ".join(["%s"] * len(columns))
    table = RequestLog._meta.db_table
    statement = f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT (request_id) DO NOTHING"  # noqa: S608
    return statement, list(zip(*(values for _, values in columns), strict=True))
