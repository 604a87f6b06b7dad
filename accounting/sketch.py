"""Percentiles from counts in logarithmic buckets, within 2 % of the true value. Pure.

The idea is that of DDSketch (Masson, Rim, Lee: VLDB 2019): bucket `i` counts the values in `(GAMMA**(i-1), GAMMA**i]`, so
that any value in it is within `RELATIVE_ERROR` of the bucket's midpoint. Sketches of two hours, models or processes are
added by adding their counts, which is what lets the database keep them as rows with `n = n + excluded.n`.

Values are whole milliseconds. From 1 ms to an hour there are 378 buckets, of which a real distribution fills a few dozen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

RELATIVE_ERROR = 0.02
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
ZERO_BUCKET = -1
"""Holds what took less than a millisecond; its midpoint is 0."""

_LOG_GAMMA = math.log(GAMMA)


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
