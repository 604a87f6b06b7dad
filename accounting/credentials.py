"""Callers' keys as the request path sees them: how a secret looks, how it is hashed, and who it belongs to.

Pure: the signing key, the rows and the time come in as arguments. Knows nothing of Django, headers' transport or budgets
(`accounting.keys` mints, `accounting.loader` reads the rows).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

from gateway_project.errors import Unauthenticated

PREFIX = "sk-or-v1-"
"""OpenRouter's own, so that clients which check the form of a key accept ours."""

_SECRET = re.compile(r"sk-or-v1-[0-9a-f]{64}")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """Who is calling, and what they may do. Id None is the anonymous caller.

    `expires_at` is in epoch seconds, None for never; empty `allowed_models` (public ids) and `allowed_providers` (slugs)
    mean all; limits are per minute, None for none; `limit_reset` is "", daily, weekly or monthly; `log_content` is "" for
    what `LOG_CONTENT` says, none, hash or full.
    """

    id: int | None
    hash: str
    name: str
    label: str
    is_management: bool = False
    is_disabled: bool = False
    expires_at: float | None = None
    allowed_models: frozenset[str] = frozenset()
    allowed_providers: frozenset[str] = frozenset()
    limit_usd: Decimal | None = None
    limit_reset: str = ""
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_concurrency: int | None = None
    log_content: str = ""


ANONYMOUS = KeyEntry(id=None, hash="", name="anonymous", label="anonymous")
"""A caller without a key, where none is required."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Every key, findable by its hash.

    A secret is looked up by its HMAC in a dict. A guesser cannot time this: how long the lookup compares depends on the
    HMAC alone, and without the signing key nobody can tell or steer which HMAC a guess has. So no comparison ever runs
    along the secret itself, and none needs `hmac.compare_digest`.
    """

    signing_key: bytes = field(default=b"", repr=False)
    is_key_required: bool = True
    by_hash: Mapping[str, KeyEntry] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, entries: Iterable[KeyEntry], *, signing_key: bytes, is_key_required: bool) -> KeyRing:
        return cls(signing_key, is_key_required, MappingProxyType({entry.hash: entry for entry in entries}))

    def authenticate(self, secret: str | None, now: float) -> KeyEntry:
        """The key that `secret` opens, `ANONYMOUS` for None where no key is required. `now` in epoch seconds.

        Raises `Unauthenticated`. No message repeats the secret, as messages are logged and shown.
        """
        if secret is None:
            if self.is_key_required:
                raise Unauthenticated(
                    "Missing Authentication header: send `Authorization: Bearer sk-or-v1-…`.", headers=_CHALLENGE
                )
            return ANONYMOUS
        if not _SECRET.fullmatch(secret):
            cure = "" if self.is_key_required else " No key is required here: you may leave the header out."
            raise Unauthenticated(
                f"No auth credentials found: what was sent is not a key of this gateway. Keys are {PREFIX} and 64 "
                f"hexadecimal digits; check that it was copied whole.{cure}",
                headers=_CHALLENGE,
            )
        entry = self.by_hash.get(hash_of(secret, self.signing_key))
        if entry is None:
            raise Unauthenticated(
                "User not found. This gateway does not know the API key that was sent: it has been deleted, or it "
                "belongs to another gateway.",
                headers=_CHALLENGE,
            )
        if entry.is_disabled:
            raise Unauthenticated(
                f"The API key {entry.label} is disabled. Ask the operator to enable it, or use another one.",
                headers=_CHALLENGE,
            )
        if entry.expires_at is not None and entry.expires_at <= now:
            expired = datetime.fromtimestamp(entry.expires_at, UTC)
            raise Unauthenticated(
                f"The API key {entry.label} expired on {expired:%Y-%m-%d at %H:%M} UTC. Ask the operator for a new one.",
                headers=_CHALLENGE,
            )
        return entry


def new_secret() -> str:
    """A fresh secret of 256 random bits."""
    return PREFIX + secrets.token_hex(32)


def hash_of(secret: str, signing_key: bytes) -> str:
    """HMAC-SHA256 of `secret`, 64 hexadecimal digits: what is stored, and published as the key's `hash`.

    One fast round is enough: a secret of 256 random bits cannot be guessed, unlike a password.
    """
    return hmac.digest(signing_key, secret.encode(), "sha256").hex()


def label_of(secret: str) -> str:
    """How people recognise a key, in OpenRouter's form: `sk-or-v1-0e6...1c9`."""
    return f"{secret[: len(PREFIX) + 3]}...{secret[-3:]}"


def secret_from(authorization: str | None, x_api_key: str | None) -> str | None:
    """The secret in a request's `Authorization` or (as Anthropic's clients send it) `X-Api-Key` header, None without both.

    `Authorization` goes first. Raises `Unauthenticated` where it holds something else than a Bearer key.
    """
    if authorization is None:
        return x_api_key
    scheme, _, secret = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "No auth credentials found: the Authorization header must read `Bearer sk-or-v1-…`.", headers=_CHALLENGE
        )
    secret = secret.strip()
    if not secret:
        raise Unauthenticated(
            "No auth credentials found: there is no key after `Bearer` in the Authorization header; is the variable "
            "that holds it empty?",
            headers=_CHALLENGE,
        )
    return secret
