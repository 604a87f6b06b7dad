"""Percentiles from counts in logarithmic buckets, within 2 % of the true value. Pure.

The idea is that of DDSketch (Masson, Rim, Lee: VLDB 2019): bucket `i` counts the values in `(GAMMA**(i-1), GAMMA**i]`, so
that any value in it is within `RELATIVE_ERROR` of the bucket's midpoint.

A sketch is one whole number: what bucket `i` counts is its digit `i + 1` in base `2**DIGIT_BITS`. So sketches of two hours,
models or processes are added by adding two numbers, however many buckets they fill, and 0 is the sketch of nothing.

Values are whole milliseconds. From 1 ms to an hour there are 378 buckets, of which a real distribution fills a few dozen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

RELATIVE_ERROR = 0.02
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
ZERO_BUCKET = -1
"""Holds what took less than a millisecond; its midpoint is 0."""

DIGIT_BYTES = 5
DIGIT_BITS = 8 * DIGIT_BYTES
"""A bucket counts to a million million: in any sum of sketches that somebody could ask for."""

Sketch = int

_LOG_GAMMA = math.log(GAMMA)
_START_BYTES = 2


def bucket(milliseconds: int) -> int:
    """The number of the bucket that counts `milliseconds`."""
    if milliseconds <= 0:
        return ZERO_BUCKET
    return math.ceil(math.log(milliseconds) / _LOG_GAMMA)


def midpoint(number: int) -> float:
    """The milliseconds that stand for every value in bucket `number`."""
    if number == ZERO_BUCKET:
        return 0.0
    return float(2 * GAMMA**number / (GAMMA + 1))


def of(milliseconds: int, times: int = 1) -> Sketch:
    """The sketch of one value, seen so many times."""
    return times << (bucket(milliseconds) - ZERO_BUCKET) * DIGIT_BITS


def counts(sketch: Sketch) -> dict[int, int]:
    """How many values are in each bucket that has any, by its number, lowest first."""
    digits = sketch.to_bytes(-(-sketch.bit_length() // 8), "little")
    return {
        ZERO_BUCKET + place // DIGIT_BYTES: n
        for place in range(0, len(digits), DIGIT_BYTES)
        if (n := int.from_bytes(digits[place : place + DIGIT_BYTES], "little"))
    }


def pack(sketch: Sketch) -> bytes:
    """`sketch` as a database keeps it: the place of its lowest digit that counts something, and the digits from there."""
    if not sketch:
        return b""
    lowest = ((sketch & -sketch).bit_length() - 1) // DIGIT_BITS
    digits = sketch >> lowest * DIGIT_BITS
    return lowest.to_bytes(_START_BYTES, "little") + digits.to_bytes(-(-digits.bit_length() // 8), "little")


def unpack(packed: bytes | memoryview) -> Sketch:
    """The sketch that was packed."""
    lowest = int.from_bytes(packed[:_START_BYTES], "little")
    return int.from_bytes(packed[_START_BYTES:], "little") << lowest * DIGIT_BITS


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """The `q`-quantile (0 to 1) in milliseconds of values counted by bucket; None where nothing was counted.

    Within 2 % of the value at rank `floor(q * (n - 1))` of the sorted values.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"{q} is not a quantile; give a fraction from 0 to 1, e.g. 0.95")
    total = sum(counts.values())
    if not total:
        return None
    rank = math.floor(q * (total - 1))
    seen = 0
    for number in sorted(counts):
        seen += counts[number]
        if seen > rank:
            return midpoint(number)
    raise AssertionError("the counts of all buckets are fewer than their sum")
