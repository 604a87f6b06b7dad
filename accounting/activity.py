"""What each endpoint did on each of the last days, as `GET /activity` publishes it (openrouter.md 5.8). Reads hourly sums only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Sum
from django.db.models.functions import TruncDate

from accounting.models import ApiKey, HourlyUsage
from accounting.spending import exact
from catalog.models import Adapter
from gateway_project.errors import InvalidRequest, NotFound

DAYS = 30

_SUMMED = {
    "requests": "requests",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "cached_tokens": "cache_read_tokens",
}
"""Published names and the columns that they are sums of."""


def days(now: datetime, day: str | None = None) -> tuple[date, date]:
    """The last `DAYS` complete UTC days, first and last, or only `day` (YYYY-MM-DD). `now` in UTC.

    Raises `InvalidRequest` for what is no date, or none of those days.
    """
    last = now.date() - timedelta(days=1)
    first = last - timedelta(days=DAYS - 1)
    if day is None:
        return first, last
    try:
        chosen = date.fromisoformat(day)
    except ValueError as error:
        raise InvalidRequest(f"date: {day[:40]!r} is not a date; use YYYY-MM-DD, e.g. {last}") from error
    if not first <= chosen <= last:
        raise InvalidRequest(f"date: {chosen} is not one of the last {DAYS} complete UTC days; use {first} to {last}")
    return chosen, chosen


def rows(first: date, last: date, api_key_hash: str | None = None) -> list[dict[str, Any]]:
    """One entry per day, model and endpoint, latest day first. Requests that reached no endpoint are in none.

    Raises `NotFound` for the hash of a key that does not exist.
    """
    start = datetime.combine(first, time(), UTC)
    usages = HourlyUsage.objects.filter(
        hour__gte=start, hour__lt=datetime.combine(last, time(), UTC) + timedelta(days=1), adapter__isnull=False
    )
    if api_key_hash is not None:
        key_id = ApiKey.objects.filter(hash=api_key_hash).values_list("pk", flat=True).first()
        if key_id is None:
            raise NotFound(f"There is no API key with the hash {api_key_hash[:64]!r}; GET /v1/keys lists them all.")
        usages = usages.filter(api_key=key_id)
    summed = (
        usages.order_by()
        .values("model_id", "adapter_id", "provider", day=TruncDate("hour", tzinfo=UTC))
        .annotate(usage=Sum("cost_usd"), **{f"sum_{name}": Sum(column) for name, column in _SUMMED.items()})
        .order_by("-day", "model_id", "adapter_id")
    )
    found = list(summed)
    served = _served({row["adapter_id"] for row in found})
    return [_item(row, served.get(row["adapter_id"], {})) for row in found]


def _served(pks: set[int]) -> Mapping[int, Mapping[str, Any]]:
    columns = ("pk", "provider__name", "model__public_id", "model__canonical_slug")
    return {row["pk"]: row for row in Adapter.objects.filter(pk__in=pks).values(*columns)}


def _item(row: Mapping[str, Any], adapter: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "date": row["day"].isoformat(),
        "model": row["model_id"],
        "model_permaslug": adapter.get("model__canonical_slug") or row["model_id"],
        "endpoint_id": str(row["adapter_id"]),
        "provider_name": adapter.get("provider__name") or row["provider"],
        "usage": float(exact(row["usage"])),
        "byok_usage_inference": 0,
        **{name: row[f"sum_{name}"] for name in _SUMMED},
    }
