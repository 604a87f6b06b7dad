"""Statements of many rows: few kinds are ever prepared, whatever columns traffic fills."""

from __future__ import annotations

import pytest

from accounting import store
from accounting.record import COLUMNS


def test_few_sets_of_columns_are_ever_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_sets", [])
    wanted = [set(COLUMNS[: 10 + number]) for number in range(20)]

    bound = [store._bound_together(needed) for needed in wanted + wanted[::-1]]

    assert len(set(bound)) <= store.MOST_SETS + 1
    assert all(needed.issubset(columns) for needed, columns in zip(wanted + wanted[::-1], bound, strict=True))


@pytest.mark.parametrize("rows", [1, 3, 64, 150, 1000])
def test_any_number_of_rows_is_a_sum_of_few_sizes(rows: int) -> None:
    sizes = list(store._sizes(rows))

    assert sum(sizes) == rows
    assert set(sizes) <= set(store.ROWS_OF_STATEMENTS)
    assert len(sizes) <= rows // 64 + 9
