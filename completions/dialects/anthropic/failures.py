"""What Anthropic says when it fails, over HTTP and inside a stream. Pure.

Status and type go together (platform.claude.com/docs/en/api/errors, read November 2026); inside a stream only the type is
told. A few 400s are about our account or about the content; those are known by their words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from completions.dialects.base import JSON
from completions.dialects.faults import classify, retry_after
from gateway_project.errors import ContentRefused, ContextLengthExceeded, ProviderAuthFailed, ProviderError

_STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "conflict_error": 409, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500,
    "timeout_error": 504, "overloaded_error": 529,
}  # fmt: skip

# "Your credit balance is too low to access the Anthropic API", "You have reached your specified API usage limits": 400,
# invalid_request_error, but a matter of our account, not of the request (seen 2025 and 2026).
_ACCOUNT_WORDS = ("credit balance is too low", "specified api usage limits", "spend_limit")
# "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000" (seen 2025 and 2026).
_CONTEXT_WORDS = ("exceed context limit",)
# "Output blocked by content filtering policy" (seen 2024 to 2026).
_CONTENT_WORDS = ("content filtering policy",)


def over_http(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error for an answer with `status` >= 400, whose body may be anything."""
    raw = body.decode("utf-8", "replace").strip()
    return _error(status, _error_object(body), raw, retry_after(headers))


def inside(event: JSON, raw: bytes) -> ProviderError:
    """The error that a `{"type": "error"}` object in a stream, or in an answer with status 200, stands for."""
    error = event.get("error")
    error = error if isinstance(error, dict) else {}
    status = _STATUS.get(str(error.get("type")), 500)
    return _error(status, error, raw.decode("utf-8", "replace"), None)


def _error_object(body: bytes) -> JSON:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def _error(status: int, error: JSON, raw: str, retry_after_s: float | None) -> ProviderError:
    said = error.get("message")
    message = said if isinstance(said, str) and said else f"Provider answered {status}"
    code = _code(error)
    words = f"{code or ''} {message}".lower()
    for kind, marks in (
        (ProviderAuthFailed, _ACCOUNT_WORDS),
        (ContextLengthExceeded, _CONTEXT_WORDS),
        (ContentRefused, _CONTENT_WORDS),
    ):
        if 400 <= status < 429 and any(mark in words for mark in marks):
            return kind(message, upstream_status=status, raw=raw, provider_code=code, retry_after_s=retry_after_s)
    return classify(status, message, raw=raw, code=code, retry_after_s=retry_after_s)


def _code(error: JSON) -> str | None:
    """The stable code of the cause where there is one, else the type."""
    details: Any = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    found = code or error.get("type")
    return found if isinstance(found, str) else None
