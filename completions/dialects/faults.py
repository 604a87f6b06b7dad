"""Which error an upstream's status, words and headers stand for, in every dialect. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from gateway_project.errors import (
    ContentRefused,
    ContextLengthExceeded,
    ProviderAuthFailed,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)

_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_CONTEXT_WORDS = (
    "context length", "context_length", "context window", "maximum context", "too many tokens", "prompt is too long",
    "exceeds the maximum number of tokens", "input token count", "exceed_context_size", "exceeds the available context",
    "reduce the length",
)  # fmt: skip
_CONTENT_WORDS = (
    "content_filter",
    "content_policy",
    "content policy",
    "safety system",
    "moderation",
    "data_inspection_failed",
)


def classify(
    status: int,
    message: str,
    *,
    raw: str,
    code: str | None = None,
    retry_after_s: float | None = None,
) -> ProviderError:
    """The `ProviderError` for an upstream's status and words: by status first; words only tell kinds of 400 and 403 apart.

    `message` is what the caller reads, `raw` the upstream's own text, `code` its own error code.
    """
    details: dict[str, Any] = {
        "upstream_status": status,
        "raw": raw,
        "provider_code": code,
        "retry_after_s": retry_after_s,
    }
    words = f"{code or ''} {message} {raw[:2000]}".lower()
    if status == 429:
        return ProviderRateLimited(message, **details)
    if status in (503, 529):
        return ProviderOverloaded(message, **details)
    if status in (408, 504, 524):
        return ProviderTimeout(message, **details)
    if status >= 500:
        return ProviderUnavailable(message, **details)
    if status in (400, 403, 413, 422) and any(word in words for word in _CONTEXT_WORDS):
        return ContextLengthExceeded(message, **details)
    if status in (400, 403, 451) and any(word in words for word in _CONTENT_WORDS):
        return ContentRefused(message, **details)
    if status in (401, 402, 403):
        return ProviderAuthFailed(message, **details)
    if status in (404, 405, 410, 421, 423, 424, 426, 498):
        return ProviderUnavailable(message, **details)
    return ProviderRejected(message, **details)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (header names in lower case), None where there is none.

    A `retry-after` that is a time of day is compared with the answer's own `date`, so that no clock is needed here.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        if (value := number(headers.get(name, ""))) is not None:
            return value / unit
    try:
        until, now = (parsedate_to_datetime(headers[name]) for name in ("retry-after", "date"))
        return max(0.0, (until - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def number(text: str) -> float | None:
    """What a provider wrote as seconds, or as a point in time. None for what is no number, or larger than either could be."""
    return float(text) if _NUMBER.fullmatch(text) else None
