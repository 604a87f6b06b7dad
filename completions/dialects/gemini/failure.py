"""What Google says when it does not answer: `google.rpc.Status` in a body or in a stream, and blocked prompts. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from completions.dialects.base import JSON
from completions.dialects.faults import classify, number, retry_after
from gateway_project.errors import ContentRefused, ProviderAuthFailed, ProviderError

_REFUSED_KEYS = frozenset(
    {"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED"}
)
_SECONDS = re.compile(r"(?P<seconds>[^s]+)s")


def error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error for an HTTP answer. Streams without `alt=sse`, and some proxies, wrap the object in a list (2025-2026)."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if isinstance(said, list):
        said = said[0] if said else None
    inner = said.get("error") if isinstance(said, dict) else None
    raw = body[:4000].decode("utf-8", "replace")
    return _classified(status, headers, inner if isinstance(inner, dict) else {}, raw)


def reported(said: JSON, raw: bytes) -> ProviderError | None:
    """The error inside an answer or an event that came with HTTP 200, None if there is none."""
    inner = said.get("error")
    if inner is None:
        return None
    inner = inner if isinstance(inner, dict) else {"message": str(inner)}
    status = inner.get("code")
    return _classified(
        status if isinstance(status, int) and status >= 400 else 502, {}, inner, raw[:4000].decode("utf-8", "replace")
    )


def blocked(feedback: Mapping[str, Any], raw: bytes) -> ProviderError | None:
    """The refusal of a prompt, which Google sends with HTTP 200 instead of candidates; None if it was not refused."""
    reason = feedback.get("blockReason")
    if not reason:
        return None
    message = feedback.get("blockReasonMessage") or f"Google refused the prompt: {reason}"
    return ContentRefused(
        message, upstream_status=200, raw=raw[:4000].decode("utf-8", "replace"), provider_code=str(reason)
    )


def _classified(status: int, headers: Mapping[str, str], inner: Mapping[str, Any], raw: str) -> ProviderError:
    details = [detail for detail in inner.get("details") or () if isinstance(detail, Mapping)]
    reason = next((detail["reason"] for detail in details if detail.get("reason")), None)
    message = inner.get("message") or f"Provider answered {status}"
    code = reason or inner.get("status")
    patience = retry_after(headers)
    if patience is None:
        patience = _asked_delay(details)
    if _refuses_us(status, reason, inner):
        return ProviderAuthFailed(message, upstream_status=status, raw=raw, provider_code=code, retry_after_s=patience)
    return classify(status, message, raw=raw, code=code, retry_after_s=patience)


def _refuses_us(status: int, reason: str | None, inner: Mapping[str, Any]) -> bool:
    """Whether a 400 is about our account: a bad key (`API_KEY_INVALID`), or a country or plan without access
    (`FAILED_PRECONDITION`; ai.google.dev/gemini-api/docs/troubleshooting, 2026)."""
    return status == 400 and (
        reason in _REFUSED_KEYS
        or inner.get("status") == "FAILED_PRECONDITION"
        or str(inner.get("message") or "").startswith(("API key not valid", "API key expired"))
    )


def _asked_delay(details: list[Mapping[str, Any]]) -> float | None:
    """Seconds in `google.rpc.RetryInfo`, written as "34.07s"."""
    for detail in details:
        if found := _SECONDS.fullmatch(str(detail.get("retryDelay") or "")):
            return number(found["seconds"])
    return None
