"""The rows of prices as timelines: what each adapter cost when, and when the next change is due."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from catalog.models import AdapterPrice
from catalog.prices import PriceChange, Prices, PricingError, Timeline


@dataclass(frozen=True, slots=True)
class Reading:
    """A pricing as a row holds it, or why it cannot be read: what was written by SQL has passed no validator."""

    prices: Prices
    unreadable: str | None = None


History = tuple[tuple[float, Reading | None], ...]
"""When each price of an adapter came or comes into force (epoch seconds), the latest first. None: the model's price."""


@dataclass(frozen=True, slots=True)
class Priced:
    """An adapter's prices now, and at all times. `unreadable`: why they must not be used, lest it be served free."""

    prices: Prices
    timeline: Timeline
    unreadable: str | None


def read_pricing(pricing: Any) -> Reading:
    try:
        return Reading(Prices.parse(pricing))
    except PricingError as error:
        return Reading(Prices(), f"its pricing cannot be read, correct it in admin: {error}")


def read(using: str = DEFAULT_DB_ALIAS) -> dict[int, History]:
    """The history of every adapter that has one, by its id. One query."""
    rows = AdapterPrice.objects.using(using).order_by("-effective_from")
    found: dict[int, list[tuple[float, Reading | None]]] = defaultdict(list)
    for adapter_id, effective_from, pricing in rows.values_list("adapter_id", "effective_from", "pricing"):
        found[adapter_id].append((effective_from.timestamp(), None if pricing is None else read_pricing(pricing)))
    return {adapter_id: tuple(history) for adapter_id, history in found.items()}


def next_change(histories: Iterable[History], now: float) -> float:
    """The first moment after `now` at which a price comes into force; infinity if none does."""
    return min((moment for history in histories for moment, _ in history if moment > now), default=math.inf)


def priced(history: History, published: Reading, now: float) -> Priced:
    """What `history` comes to for an adapter of a model with that `published` price."""
    readings = [(moment, reading or published) for moment, reading in history]
    # Before the first price of its own, an adapter cost what the model did.
    readings.append((-math.inf, published))
    present = next(reading for moment, reading in readings if moment <= now)
    unreadable = next((reading.unreadable for moment, reading in readings if reading.unreadable and moment > now), None)
    timeline = tuple(PriceChange(moment, reading.prices) for moment, reading in readings) if history else ()
    return Priced(present.prices, timeline, present.unreadable or unreadable)
