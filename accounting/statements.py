"""Of how many rows a statement for SQLite is: of few different numbers, so that few statements are ever prepared. Pure.

SQLite's module keeps the last 128 statements of a connection prepared, and one of 64 request logs takes 0.35 MB. With one for each
number of rows they took 4.5 MB after two minutes of mixed traffic, and now 0.7 (`tests/benchmarks/soak.py`, 2026-11). PostgreSQL
keeps none of these prepared, and each is a trip there and back: it gets all rows at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

ROWS_AT_ONCE = (64, 16, 4, 1)
"""SQLite takes at most 32,766 values in a statement, which would be 700 request logs."""


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """`rows` in their order, in as many parts as it takes to have each of one of the sizes."""
    start = 0
    for size in ROWS_AT_ONCE:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def padded(keys: Collection[T]) -> list[T]:
    """`keys`, of which there is one at least, the last of them again and again up to a power of two. For lists after `IN`."""
    listed = list(keys)
    return listed + listed[-1:] * ((1 << (len(listed) - 1).bit_length()) - len(listed))
