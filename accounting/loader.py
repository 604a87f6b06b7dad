"""Rows to entries: reads every API key into the `KeyRing` that the request path asks. One query."""

from __future__ import annotations

from django.conf import settings

from accounting import keys
from accounting.credentials import KeyEntry, KeyRing
from accounting.models import ApiKey

_FIELDS = (
    "id", "hash", "name", "label", "is_management", "is_disabled", "expires_at", "allowed_models", "allowed_providers",
    "limit_usd", "limit_reset", "rpm_limit", "tpm_limit", "max_concurrency", "log_content",
)  # fmt: skip


def load() -> KeyRing:
    """Every key, also disabled and expired ones: they are refused with the reason, not as unknown as deleted ones are."""
    rows = ApiKey.objects.filter(deleted_at=None).order_by().only(*_FIELDS)
    return KeyRing.of(
        map(_entry, rows.iterator()), signing_key=keys.signing_key(), is_key_required=settings.REQUIRE_API_KEY
    )


def _entry(row: ApiKey) -> KeyEntry:
    return KeyEntry(
        id=row.pk,
        hash=row.hash,
        name=row.name,
        label=row.label,
        is_management=row.is_management,
        is_disabled=row.is_disabled,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
        allowed_models=frozenset(row.allowed_models),
        allowed_providers=frozenset(row.allowed_providers),
        limit_usd=row.limit_usd,
        limit_reset=row.limit_reset,
        rpm_limit=row.rpm_limit,
        tpm_limit=row.tpm_limit,
        max_concurrency=row.max_concurrency,
        log_content=row.log_content,
    )
