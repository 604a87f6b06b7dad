"""Amounts of money: what is one, and what is only a number."""

from __future__ import annotations

from decimal import Decimal

import pytest

from catalog import amounts
from catalog.prices import Prices, PricingError


@pytest.mark.parametrize("written", ["0", "-1", "12.5", "1e-7", "1.0000000000000001e-7", "1e12", "1_000"])
def test_amounts_are_read_to_the_last_digit(written):
    assert amounts.read(written) == Decimal(written)


@pytest.mark.parametrize(
    "written", ["", "much", "NaN", "sNaN", "Infinity", "1e9999999", "-1e9999999", "1e-9999999", "1000000000001", "1" * 5000]
)
def test_what_cannot_be_reckoned_with_is_none(written):
    assert amounts.read(written) is None


@pytest.mark.parametrize("price", ["1e9999999", "1e-9999999"])
def test_such_a_price_is_refused_where_it_is_written(price):
    with pytest.raises(PricingError, match=f"prompt: '{price}' is not a price"):
        Prices.parse({"prompt": price})
