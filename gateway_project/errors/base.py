"""The root of the exception tree: what every error of the gateway says of itself, and the closed vocabulary of types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ERROR_TYPES = frozenset(
    {
        "context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long", "authentication",
        "permission_denied", "payment_required", "rate_limit_exceeded", "provider_overloaded", "provider_unavailable",
        "invalid_request", "invalid_prompt", "not_found", "precondition_failed", "payload_too_large", "unprocessable",
        "content_policy_violation", "refusal", "invalid_image", "image_too_large", "image_too_small",
        "unsupported_image_format", "image_not_found", "image_download_failed", "server", "timeout", "unmapped",
    }
)  # fmt: skip


DOMAINS = frozenset({"caller", "policy", "provider", "gateway"})
"""Whose doing an error is: the request's, the operator's (limits, budgets, what is set up), an upstream's, or our own."""
REFUSAL_DOMAINS = frozenset({"caller", "policy"})
"""Those whose errors tell of no trouble: what was asked is wrong, or the operator has set it so."""


class GatewayError(Exception):
    """An error with a status, a type and a message meant for the caller, and a domain for those who watch.

    `message` names the value, the rule and the cure. `metadata` is published as `error.metadata`; `headers` are added to
    the response; `availability` (openrouter.md 4.3) explains a routing failure and is published as `error.availability`.
    """

    status: int = 500
    error_type: str = "server"
    domain: str = "gateway"

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        availability: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.headers = dict(headers or {})
        self.availability = dict(availability) if availability else None

    def body(self) -> dict[str, Any]:
        """The value of `error` in the envelope: an integer code, a message, metadata with at least `error_type`."""
        error: dict[str, Any] = {
            "code": self.status,
            "message": self.message,
            "metadata": {"error_type": self.error_type, **self.metadata},
        }
        if self.availability:
            error["availability"] = self.availability
        return error
