"""Statements of many rows: few kinds are ever prepared, whatever columns traffic fills and however many rows a batch has."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from accounting import statements, store
from accounting.lines import encode
from accounting.record import COLUMNS, Record
from accounting.rows import read
from tests.accounting.conftest import Database

NewRecord = Callable[..., Record]
NOW = time.time()


def test_few_sets_of_columns_are_ever_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_sets", [])
    wanted = [set(COLUMNS[: 10 + number]) for number in range(20)]

    bound = [store._bound_together(needed) for needed in wanted + wanted[::-1]]

    assert len(set(bound)) <= store.MOST_SETS + 1
    assert all(needed.issubset(columns) for needed, columns in zip(wanted + wanted[::-1], bound, strict=True))


@pytest.mark.parametrize("rows", [0, 1, 3, 64, 150, 1000])
def test_any_number_of_rows_is_a_sum_of_few_sizes(rows: int) -> None:
    parts = list(statements.parts(range(rows)))

    assert [row for part in parts for row in part] == list(range(rows))
    assert {len(part) for part in parts} <= set(statements.ROWS_AT_ONCE)
    assert len(parts) <= rows // 64 + 9


@pytest.mark.parametrize("keys", [1, 2, 3, 5, 8, 9, 1000])
def test_lists_of_keys_are_of_few_lengths(keys: int) -> None:
    padded = statements.padded(dict.fromkeys(range(keys)))

    assert set(padded) == set(range(keys))
    assert keys <= len(padded) < 2 * keys or keys == 1
    assert len(padded).bit_count() == 1


def test_sums_of_batches_of_any_size_take_no_new_statements(sqlite_database: Database, new_record: NewRecord) -> None:
    dice, seen = random.Random(7), set[str]()
    outcomes: list[dict[str, Any]] = [
        {},
        {"status_code": 429, "error_type": "rate_limit_exceeded"},
        {"error_type": "timeout"},
    ]
    keys = [sqlite_database.key.pk, None]

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        seen.add(sql)
        return execute(sql, *rest)

    def write(rows: int) -> None:
        batch = [
            new_record(
                sqlite_database,
                api_key_id=dice.choice(keys),
                timestamp=NOW - 3600 * dice.randrange(48),
                **dice.choice(outcomes),
            )
            for _ in range(rows)
        ]
        store.add([read(encode(record)) for record in batch], sqlite_database.alias)

    with connections[sqlite_database.alias].execute_wrapper(note):
        for rows in range(1, 60):
            write(rows)
        before = len(seen)
        for _ in range(60):
            write(dice.randrange(1, 60))
    assert len(seen) - before <= 2
    assert before < 64, "SQLite's module keeps 128, some of them for the requests themselves"
