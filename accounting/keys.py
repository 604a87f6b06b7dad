"""Minting callers' keys: the one place where a secret and its row meet. The secret is returned once and kept nowhere."""

from __future__ import annotations

import hmac
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from accounting import credentials
from accounting.credentials import ANONYMOUS, KeyEntry, KeyRing, secret_from
from accounting.models import ApiKey

__all__ = ["ANONYMOUS", "KeyEntry", "KeyRing", "issue", "mint", "secret_from", "signing_key"]


def signing_key() -> bytes:
    """The key that callers' secrets are hashed with, 32 bytes, derived from SECRET_KEY and from nothing else.

    A stolen database alone can therefore not even be used to check guesses; the price is that a new SECRET_KEY makes
    every API key unknown.
    """
    return hmac.digest(settings.SECRET_KEY.encode(), b"accounting.keys", "sha256")


def issue(row: ApiKey) -> str:
    """Give the unsaved `row` a new secret, save it, and return the secret. Raises `ValidationError` on a bad row."""
    if row.pk is not None:
        raise ValueError(f"{row} has a secret already; mint a new key and disable this one")
    secret = credentials.new_secret()
    row.hash = credentials.hash_of(secret, signing_key())
    row.label = credentials.label_of(secret)
    row.full_clean()
    row.save(force_insert=True)
    return secret


def mint(
    name: str,
    *,
    is_management: bool = False,
    owner: User | None = None,
    limit_usd: Decimal | None = None,
    limit_reset: str = "",
    expires_at: datetime | None = None,
    **limits: Any,
) -> tuple[ApiKey, str]:
    """A new key and its secret. `limits` are further fields of `ApiKey`: allowed_models, rpm_limit, log_content …

    Raises `ValidationError` naming the field that breaks a rule; nothing is saved then.
    """
    row = ApiKey(
        name=name,
        is_management=is_management,
        owner=owner,
        limit_usd=limit_usd,
        limit_reset=limit_reset,
        expires_at=expires_at,
        **limits,
    )
    return row, issue(row)
