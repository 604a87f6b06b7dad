"""Amounts as callers and operators write them: prices, budgets, filters. Pure.

`Decimal` takes "1e9999999", and whatever is then reckoned with it fails or has ten million digits.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

LARGEST = Decimal(10**12)
MOST_DECIMALS = 30
MOST_CHARACTERS = 60


def read(written: str) -> Decimal | None:
    """The amount; None where it is no number, is more than `LARGEST` either way, or has more than `MOST_DECIMALS` decimals."""
    if len(written) > MOST_CHARACTERS:
        return None
    try:
        amount = Decimal(written)
    except InvalidOperation:
        return None
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MOST_DECIMALS or amount.adjusted() > LARGEST.adjusted():
        return None
    return amount if abs(amount) <= LARGEST else None
