"""Numbers as operators read them: short, with their unit, and a dash where nothing is known. Pure."""

from __future__ import annotations

from decimal import Decimal

NOTHING = "–"


def count(value: float) -> str:
    """1,234 as it is; 1.2 million as 1.2M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e5, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{round(value):,}"


def usd(value: Decimal | float | None) -> str:
    """Cents where they say enough, three significant digits below 10 cents. $0 is nothing at all; $0.00 would hide something."""
    if value is None:
        return NOTHING
    amount = float(value)
    if not amount:
        return "$0"
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    if size >= 0.1:
        return f"{sign}${size:,.2f}"
    return f"{sign}${Decimal(f'{size:.3g}'):f}"


def percent(share: float | None) -> str:
    """A share from 0 to 1; tenths where they matter."""
    if share is None:
        return NOTHING
    value = share * 100
    return f"{value:.0f}%" if value >= 10 or not value or float(f"{value:.1f}").is_integer() else f"{value:.1f}%"


def share(part: float | None) -> str:
    """A share from 0 to 1 that `apportion` has rounded: with its tenth of a per cent, unless that is 0."""
    return NOTHING if part is None else f"{part * 100:.1f}".removesuffix(".0") + "%"


def duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.3g} s"


def per_million(price: Decimal | None) -> str:
    """A price per token as USD per million tokens, which is how price lists read."""
    return NOTHING if price is None else usd(price * 1_000_000)
