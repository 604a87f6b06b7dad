"""Refused keys, counted by address."""

from __future__ import annotations

import pytest

from accounting.throttle import Throttle, neighbourhood


def test_failures_within_the_limit_wait_for_nothing_and_further_ones_do():
    throttle = Throttle(3)

    assert [throttle.failed("192.0.2.1", second) for second in (0, 1, 2, 3, 50)] == [0, 0, 0, 57, 10]
    assert throttle.failed("192.0.2.2", 3) == 0
    assert throttle.failed("192.0.2.1", 60) == 0


def test_its_memory_is_bounded_and_the_busiest_stay_in_it():
    throttle = Throttle(3, max_addresses=100)
    for number in range(5000):
        throttle.failed(f"198.51.100.{number}", number / 1000)
        throttle.failed("192.0.2.1", number / 1000)

    assert len(throttle) <= 100
    assert throttle.failed("192.0.2.1", 5) > 0


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_one_customer_is_one_address(address, counted_as):
    assert neighbourhood(address) == counted_as
