"""Request logs as a stream of JSON lines or CSV, in order of arrival and in constant memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from accounting.models import RequestLog
from accounting.record import COLUMNS

PAGE_ROWS = 500
FORMATS = ("ndjson", "csv")


def rows(start: datetime | None, end: datetime | None) -> Iterator[tuple[Any, ...]]:
    """The `COLUMNS` of requests that arrived from `start` to before `end`. Pages by key: no page costs more than the first."""
    logs = RequestLog.objects.between(start, end).order_by("timestamp", "pk")
    page = list(logs.values_list("pk", *COLUMNS)[:PAGE_ROWS])
    while page:
        for _, *values in page:
            yield tuple(values)
        pk, timestamp = page[-1][0], page[-1][1 + COLUMNS.index("timestamp")]
        page = list(logs.after(timestamp, pk).values_list("pk", *COLUMNS)[:PAGE_ROWS])


def ndjson(start: datetime | None, end: datetime | None) -> Iterator[str]:
    """One JSON object a line, with the names and forms of `accounting.record.Record`, but times as ISO 8601."""
    for values in rows(start, end):
        yield orjson.dumps(dict(zip(COLUMNS, map(_plain, values), strict=True))).decode() + "\n"


def as_csv(start: datetime | None, end: datetime | None) -> Iterator[str]:
    """A header, then a line a request. What is nested is JSON inside its field; what is absent is empty."""
    yield _csv_line(COLUMNS)
    for values in rows(start, end):
        yield _csv_line(map(_flat, values))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return f"{value:f}" if isinstance(value, Decimal) else value


def _flat(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else _plain(value)


def _csv_line(values: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
