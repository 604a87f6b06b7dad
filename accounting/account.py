"""Keys and credits as the account endpoints publish and change them (openrouter.md 5.5-5.7).

Owns the published shapes and what the endpoints may do to a row of `ApiKey`. Must not know HTTP. Money is computed in `Decimal`
and becomes a JSON number in the last step. What OpenRouter has and a gateway of one's own has not is published at rest: one
workspace, no organisation, no keys of callers' own at providers (BYOK).

As at OpenRouter, management keys are not among the keys that are managed here, so that nobody locks everybody out, and a
management key that leaks cannot end the others. They are managed in admin.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import ProtectedError, Q, QuerySet
from django.utils import timezone

from accounting import keys, spending
from accounting.credentials import KeyEntry
from accounting.models import ApiKey
from accounting.spending import Spending
from gateway_project.errors import InvalidRequest, NotFound, Unauthenticated

WORKSPACE_ID = "00000000-0000-4000-8000-000000000000"
"""The one workspace there is. Clients require the field to be a string."""

PAGE_KEYS = 100
"""How many keys one page of the list has, as OpenRouter's."""

NO_QUOTA = 2**31 - 1
"""Published as the daily quota of free models, which there is none of here: clients require a number, and stop at 0 left."""

_NO_BYOK = {"byok_usage": 0, "byok_usage_daily": 0, "byok_usage_weekly": 0, "byok_usage_monthly": 0}


def current(entry: KeyEntry) -> dict[str, Any]:
    """What a key may know of itself. Raises `Unauthenticated` for a caller without a key."""
    key = ApiKey.objects.filter(pk=entry.id, deleted_at=None).first() if entry.id is not None else None
    if key is None:
        raise Unauthenticated(
            "No auth credentials found: this page describes the API key that is sent with the request, and none was "
            "sent. Send `Authorization: Bearer sk-or-v1-…`."
        )
    now = timezone.now()
    spent = spending.of_keys([key.pk], now)[key.pk]
    budget = _budget(key, spent, now)
    return {
        "label": key.label,
        **_limits(key, spent),
        **_NO_BYOK,
        "is_free_tier": False,
        "is_management_key": key.is_management,
        "is_provisioning_key": key.is_management,
        "creator_user_id": _id(key.owner_id),
        "organization_id": None,
        "workspace_id": WORKSPACE_ID,
        "expires_at": _moment(key.expires_at),
        "allowed_data_regions": ["global"],
        "budgets": [budget] if budget else [],
        "effective_budget": budget,
        "free_model_daily_requests": {
            "used": spent.free_today,
            "limit": NO_QUOTA,
            "remaining": NO_QUOTA - spent.free_today,
        },
        "rate_limit": {"requests": -1, "interval": "10s", "note": "Deprecated: always -1."},
    }


def credits(now: datetime) -> dict[str, float]:
    """All that was spent, and as credits that plus what limits still allow: the difference is what may yet be spent.

    Nobody buys credits here. Keys without a limit add nothing, and neither do keys that are of no use any more.
    """
    usable = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), deleted_at=None, is_disabled=False)
    limited = list(usable.filter(limit_usd__isnull=False))
    spent = spending.of_keys([key.pk for key in limited], now)
    remaining = sum((spending.remaining(key, spent[key.pk]) or spending.ZERO for key in limited), spending.ZERO)
    total = spending.total()
    return {"total_credits": float(total + remaining), "total_usage": float(total)}


def page(*, offset: int, include_disabled: bool, include_expired: bool) -> list[dict[str, Any]]:
    """Up to `PAGE_KEYS` keys, newest first. Three queries."""
    now = timezone.now()
    found = _managed()
    if not include_disabled:
        found = found.filter(is_disabled=False)
    if not include_expired:
        found = found.filter(Q(expires_at=None) | Q(expires_at__gt=now))
    listed = list(found.order_by("-created_at", "-pk")[offset : offset + PAGE_KEYS])
    spent = spending.of_keys([key.pk for key in listed], now)
    return [_published(key, spent[key.pk]) for key in listed]


def describe(key: ApiKey) -> dict[str, Any]:
    return _published(key, spending.of_keys([key.pk], timezone.now())[key.pk])


def find(key_hash: str) -> ApiKey:
    """The key with that hash. Raises `NotFound`, also for a deleted one and for management keys."""
    key = _managed().filter(hash=key_hash).first()
    if key is None:
        raise NotFound(f"There is no API key with the hash {key_hash[:64]!r}; GET /v1/keys lists them all.")
    return key


def create(fields: Mapping[str, Any]) -> tuple[ApiKey, str]:
    """A new key and its secret; `fields` are those of `ApiKey`. Raises `InvalidRequest` naming the one that is wrong."""
    try:
        return keys.mint(**fields)
    except ValidationError as error:
        raise _refusal(error) from error


def change(key: ApiKey, fields: Mapping[str, Any]) -> ApiKey:
    """`key` with those fields changed, saved. Raises `InvalidRequest` naming the one that is wrong."""
    for name, value in fields.items():
        setattr(key, name, value)
    try:
        key.full_clean()
    except ValidationError as error:
        raise _refusal(error) from error
    key.save(update_fields=[*fields, "updated_at"])
    return key


def delete(key: ApiKey) -> None:
    """End `key` for good. One that request logs name stays as a row, so that they still say whose they were."""
    try:
        key.delete()
    except ProtectedError:
        now = timezone.now()
        ApiKey.objects.filter(pk=key.pk).update(is_disabled=True, deleted_at=now, updated_at=now)


def _published(key: ApiKey, spent: Spending) -> dict[str, Any]:
    return {
        "hash": key.hash,
        "name": key.name,
        "label": key.label,
        "disabled": key.is_disabled,
        **_limits(key, spent),
        **_NO_BYOK,
        "created_at": _moment(key.created_at),
        "updated_at": _moment(key.updated_at),
        "expires_at": _moment(key.expires_at),
        "creator_user_id": _id(key.owner_id),
        "external_user": None,
        "last_used_at": _moment(spent.last_used_at),
        "workspace_id": WORKSPACE_ID,
    }


def _limits(key: ApiKey, spent: Spending) -> dict[str, Any]:
    return {
        "limit": _usd(key.limit_usd),
        "limit_remaining": _usd(spending.remaining(key, spent)),
        "limit_reset": key.limit_reset or None,
        "include_byok_in_limit": False,
        "usage": float(spent.total),
        "usage_daily": float(spent.daily),
        "usage_weekly": float(spent.weekly),
        "usage_monthly": float(spent.monthly),
    }


def _budget(key: ApiKey, spent: Spending, now: datetime) -> dict[str, Any] | None:
    """The key's own limit as a budget layer; None where it has none. What remains may be below 0 here."""
    if key.limit_usd is None:
        return None
    used = spent.within(key.limit_reset)
    return {
        "scope": "key_limit",
        "limit_usd": float(key.limit_usd),
        "spend_usd": float(used),
        "remaining_usd": float(key.limit_usd - used),
        "reset_interval": key.limit_reset or None,
        "resets_at": _moment(spending.resets_at(key, now)),
        "include_byok": False,
        "budget_id": None,
        "guardrail_id": None,
    }


def _managed() -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(deleted_at=None, is_management=False)


def _refusal(error: ValidationError) -> InvalidRequest:
    """The first complaint, under the name that the field has in the API."""
    field, problems = next(iter(error.message_dict.items()))
    name = {"limit_usd": "limit", "is_disabled": "disabled"}.get(field, field)
    return InvalidRequest(problems[0] if field == "__all__" else f"{name}: {problems[0]}")


def _usd(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _id(pk: int | None) -> str | None:
    return None if pk is None else str(pk)


def _moment(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond: `2026-11-20T12:00:00.000Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
