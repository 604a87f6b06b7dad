from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import sketch

milliseconds = st.one_of(
    st.integers(0, 50),
    st.integers(0, 3_600_000),
    st.floats(0, 15).map(lambda exponent: int(math.exp(exponent))),
)


@given(st.lists(milliseconds, min_size=1, max_size=300), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_every_quantile_is_within_two_percent(values: list[int], q: float):
    counts = Counter(map(sketch.bucket, values))
    true = sorted(values)[math.floor(q * (len(values) - 1))]
    estimate = sketch.quantile(counts, q)
    assert estimate is not None
    assert abs(estimate - true) <= 0.02 * true * (1 + 1e-9)


@given(st.lists(milliseconds), st.lists(milliseconds))
def test_sketches_add_up(one: list[int], other: list[int]):
    together = Counter(map(sketch.bucket, one + other))
    assert Counter(map(sketch.bucket, one)) + Counter(map(sketch.bucket, other)) == together


def test_an_hour_of_milliseconds_needs_fewer_than_400_buckets():
    assert sketch.bucket(3_600_000) < 400


def test_nothing_has_no_percentile():
    assert sketch.quantile({}, 0.5) is None
    assert sketch.quantile({3: 0}, 0.5) is None


def test_a_percentage_is_not_a_quantile():
    with pytest.raises(ValueError, match=r"95 is not a quantile.*0\.95"):
        sketch.quantile({1: 1}, 95)
