"""Points in time as people type them on a command line. Pure: now is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse(text: str, now: datetime) -> datetime:
    """`15m`, `2h` or `7d` before `now`, or a date or date and time (ISO 8601, UTC unless it says otherwise).

    Raises `ValueError` for anything else.
    """
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if ago:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time; use e.g. 15m, 2h, 7d (that long ago), 2026-11-20 or 2026-11-20T12:30"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
