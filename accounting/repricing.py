"""Charging stored requests anew: at the prices that, as is known now, were in force when they arrived.

Batches are bounded and each is one transaction: rows, sums and the trail (`PriceCorrection`) change together or not at all.
Running it again changes nothing. What an answer used is kept with each attempt, class by class, so the new cost is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from django.db import connections, transaction
from django.utils import timezone

from accounting import rollups, slots
from accounting.groups import Group
from accounting.models import PriceCorrection, RequestLog, RequestLogQuerySet
from accounting.pricing import ZERO, cost
from accounting.usage import Usage
from catalog import price_history
from catalog.models import Adapter
from catalog.prices import Prices, written

BATCH_ROWS = 500
_SMALLEST_USD = Decimal("1e-12")
# Three times as fast as `bulk_update`, whose one long statement the database has to parse anew for every batch.
_UPDATE = f"UPDATE {RequestLog._meta.db_table} SET cost_usd = %s, prices = %s, attempts = %s WHERE id = %s"  # noqa: S608


class UnreadablePrice(Exception):
    """A pricing in the database that cannot be read. `str()` says which and why."""


class PriceBook:
    """What each adapter cost when. Without `published`, models' own prices are left out: they have no history."""

    def __init__(self, using: str, *, published: bool) -> None:
        self._histories = price_history.read(using)
        self._published: dict[int, price_history.Reading] = {}
        if published:
            models = Adapter.objects.using(using).values_list("pk", "model__pricing")
            self._published = {pk: price_history.read_pricing(pricing) for pk, pricing in models}

    def prices(self, adapter_id: int, epoch_s: float) -> Prices | None:
        """The adapter's prices at that moment, None where the book has none. Raises `UnreadablePrice`."""
        reading = next((price for since, price in self._histories.get(adapter_id, ()) if since <= epoch_s), None)
        reading = reading or self._published.get(adapter_id)
        if reading is None:
            return None
        if reading.unreadable:
            raise UnreadablePrice(f"adapter {adapter_id}: {reading.unreadable}")
        return reading.prices.at(epoch_s)


@dataclass(slots=True)
class Outcome:
    """What a run did, or would do.

    `unpriced`: charged requests for which the book has no price, left as they are. `free`: requests of which no answer is
    charged at any price, such as errors.
    """

    requests: int = 0
    corrected: int = 0
    unpriced: int = 0
    free: int = 0
    old_usd: Decimal = ZERO
    new_usd: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Charge:
    """The new cost of a request, with the prices of its last answer."""

    usd: Decimal
    prices: dict[str, str] | None
    attempts: list[dict[str, Any]] = field(default_factory=list)


def reprice(logs: RequestLogQuerySet, by: str, *, published: bool = False, dry_run: bool = False) -> Outcome:
    """Charge `logs` anew in the name of `by`; see `PriceBook` for `published`. A `dry_run` only computes.

    Raises `UnreadablePrice`, and `LookupError` for rows that no sum counts; batches done until then stay done.
    """
    book, outcome, now = PriceBook(logs.db, published=published), Outcome(), timezone.now()
    for page in _pages(logs):
        with transaction.atomic(using=logs.db):
            rows = list(logs.model._base_manager.using(logs.db).filter(pk__in=page).order_by("pk").select_for_update())
            changed = list(_changed(rows, book, outcome))
            if changed and not dry_run:
                _write(changed, by, now, logs.db)
    return outcome


def _pages(logs: RequestLogQuerySet) -> Iterator[list[int]]:
    """Primary keys in order of arrival, `BATCH_ROWS` at a time."""
    ordered = logs.order_by("timestamp", "pk")
    page = list(ordered.values_list("timestamp", "pk")[:BATCH_ROWS])
    while page:
        yield [pk for _, pk in page]
        page = list(ordered.after(*page[-1]).values_list("timestamp", "pk")[:BATCH_ROWS])


def _changed(rows: list[RequestLog], book: PriceBook, outcome: Outcome) -> Iterator[tuple[RequestLog, Charge]]:
    for row in rows:
        outcome.requests += 1
        if not _is_charged(row):
            outcome.free += 1
            continue
        charge = charged(row, book)
        if charge is None:
            outcome.unpriced += 1
        elif charge.usd != row.cost_usd:
            outcome.corrected += 1
            outcome.old_usd += row.cost_usd
            outcome.new_usd += charge.usd
            yield row, charge


def _is_charged(row: RequestLog) -> bool:
    return any(attempt.get("usage") is not None for attempt in row.attempts)


def charged(row: RequestLog, book: PriceBook) -> Charge | None:
    """What the request costs by the book; None where it has no price for one of the answers. Free answers stay free."""
    usd, prices = ZERO, row.prices
    attempts: list[dict[str, Any]] = []
    for attempt in row.attempts:
        classes: Mapping[str, int] | None = attempt.get("usage")
        if classes is not None:
            found = book.prices(attempt["adapter_id"], row.timestamp.timestamp())
            if found is None:
                return None
            usage = Usage.of(classes)
            prices = written(found.of(usage.prompt_tokens)) or None
            attempt = {**attempt, "cost_usd": format(cost(usage, found).total, "f")}
        usd += Decimal(attempt["cost_usd"])
        attempts.append(attempt)
    return Charge(usd.quantize(_SMALLEST_USD), prices, attempts)


def _group(row: RequestLog) -> Group:
    return Group.of(row.timestamp.timestamp(), row.model_id, row.adapter_id, row.api_key_id)


def _write(changed: list[tuple[RequestLog, Charge]], by: str, now: datetime, using: str) -> None:
    differences: dict[Group, Decimal] = defaultdict(Decimal)
    trail, updates = [], []
    for row, charge in changed:
        differences[_group(row)] += charge.usd - row.cost_usd
        trail.append(
            PriceCorrection(
                request_id=row.request_id,
                requested_at=row.timestamp,
                old_cost_usd=row.cost_usd,
                new_cost_usd=charge.usd,
                old_prices=row.prices,
                new_prices=charge.prices,
                corrected_at=now,
                corrected_by=by,
            )
        )
        updates.append((charge.usd, _json(charge.prices), _json(charge.attempts), row.pk))
    with connections[using].cursor() as cursor:
        cursor.executemany(_UPDATE, updates)
    PriceCorrection.objects.using(using).bulk_create(trail)
    rollups.add_cost(differences, connections[using])
    slots.add_cost(differences, connections[using])


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
