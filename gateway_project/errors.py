"""Every error the gateway raises on purpose, and how it looks to a caller.

Owns the exception tree, HTTP statuses and the closed `error_type` vocabulary (openrouter.md 4.3). Knows nothing of Django,
HTTP clients or rows: standard library only.

    GatewayError
    ├── CallerError                 the request is at fault; never retried, never counted against a provider
    │   ├── InvalidRequest          400  malformed JSON, wrong types, a field that cannot be honoured
    │   ├── Unauthenticated         401  a key that was sent and is not valid, or none where one is required
    │   ├── PaymentRequired         402  a budget is spent
    │   ├── PermissionDenied        403  a valid key that may not do this
    │   ├── ModelNotFound           404  no model of that id (metadata: close matches)
    │   ├── NoEndpoints             404  the model exists, but nothing may serve this request (metadata: why, one by one)
    │   ├── NotFound                404  no such page or record
    │   ├── MethodNotAllowed        405
    │   ├── RequestTimedOut         408  the request itself arrived too slowly
    │   ├── PayloadTooLarge         413
    │   ├── UnsupportedMediaType    415
    │   ├── Unprocessable           422  well-formed, but a value is out of its range
    │   └── RateLimited             429  our own limit
    ├── ProviderError               an upstream is at fault
    │   ├── ProviderRejected        400  the upstream refused the request itself: not retried on the same adapter
    │   │   ├── ContextLengthExceeded   400
    │   │   └── ContentRefused          403
    │   ├── ProviderRateLimited     429
    │   ├── ProviderAuthFailed      502  our key was refused; never shown as the caller's 401
    │   ├── ProviderUnavailable     502  connect failure, 5xx, broken stream, an answer that is not one
    │   │   └── ConnectionBroken    502  the connection was lost after it had been made: worth another try at once
    │   ├── ProviderOverloaded      503
    │   └── ProviderTimeout         504
    └── GatewayFault                the gateway itself cannot serve
        ├── NoCandidates            503  every adapter of the model is switched off or unhealthy right now
        ├── LedgerUnavailable       503  the request could not be recorded, so it is not served
        ├── NotServing              503  the process is starting or shutting down
        └── InternalError           500
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

ERROR_TYPES = frozenset(
    {
        "context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long", "authentication",
        "permission_denied", "payment_required", "rate_limit_exceeded", "provider_overloaded", "provider_unavailable",
        "invalid_request", "invalid_prompt", "not_found", "precondition_failed", "payload_too_large", "unprocessable",
        "content_policy_violation", "refusal", "invalid_image", "image_too_large", "image_too_small",
        "unsupported_image_format", "image_not_found", "image_download_failed", "server", "timeout", "unmapped",
    }
)  # fmt: skip


class GatewayError(Exception):
    """An error with a status, a type and a message meant for the caller.

    `message` names the value, the rule and the cure. `metadata` is published as `error.metadata`; `headers` are added to
    the response; `availability` (openrouter.md 4.3) explains a routing failure and is published as `error.availability`.
    """

    status: int = 500
    error_type: str = "server"
    domain: ClassVar[str] = "gateway"

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


class CallerError(GatewayError):
    status = 400
    error_type = "invalid_request"
    domain = "caller"


class InvalidRequest(CallerError):
    pass


class Unauthenticated(CallerError):
    status = 401
    error_type = "authentication"


class PaymentRequired(CallerError):
    status = 402
    error_type = "payment_required"
    domain = "policy"


class PermissionDenied(CallerError):
    status = 403
    error_type = "permission_denied"
    domain = "policy"


class NotFound(CallerError):
    status = 404
    error_type = "not_found"


class ModelNotFound(NotFound):
    pass


class NoEndpoints(NotFound):
    domain = "policy"


class MethodNotAllowed(CallerError):
    status = 405


class RequestTimedOut(CallerError):
    status = 408
    error_type = "timeout"


class PayloadTooLarge(CallerError):
    status = 413
    error_type = "payload_too_large"


class UnsupportedMediaType(CallerError):
    status = 415


class Unprocessable(CallerError):
    status = 422
    error_type = "unprocessable"


class RateLimited(CallerError):
    status = 429
    error_type = "rate_limit_exceeded"
    domain = "policy"


class ProviderError(GatewayError):
    """A fault of an upstream.

    `raw` is the upstream's own text and `upstream_status` its HTTP status (None if it never answered); `retry_after_s` is
    what it asked for. `counts_as_fault` tells the breaker, `try_next` the pipeline.
    """

    status = 502
    error_type = "provider_unavailable"
    domain = "provider"
    counts_as_fault: ClassVar[bool] = True
    try_next: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        upstream_status: int | None = None,
        raw: str = "",
        provider_code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(scrub(message))
        self.upstream_status = upstream_status
        self.raw = scrub(raw)[:RAW_LIMIT_CHARS]
        self.provider_code = provider_code
        self.retry_after_s = retry_after_s
        if self.raw:
            self.metadata["raw"] = self.raw
        if provider_code:
            self.metadata["provider_error_code"] = provider_code
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after_s)))


class ProviderRejected(ProviderError):
    status = 400
    error_type = "invalid_request"
    counts_as_fault = False
    try_next = False


class ContextLengthExceeded(ProviderRejected):
    error_type = "context_length_exceeded"


class ContentRefused(ProviderRejected):
    status = 403
    error_type = "content_policy_violation"


class ProviderRateLimited(ProviderError):
    status = 429
    error_type = "rate_limit_exceeded"


class ProviderAuthFailed(ProviderError):
    counts_as_fault = False


class ProviderUnavailable(ProviderError):
    pass


class ConnectionBroken(ProviderUnavailable):
    pass


class ProviderOverloaded(ProviderError):
    status = 503
    error_type = "provider_overloaded"


class ProviderTimeout(ProviderError):
    status = 504
    error_type = "timeout"


class GatewayFault(GatewayError):
    pass


class NoCandidates(GatewayFault):
    status = 503
    error_type = "provider_unavailable"


class LedgerUnavailable(GatewayFault):
    status = 503


class NotServing(GatewayFault):
    status = 503


class InternalError(GatewayFault):
    pass


RAW_LIMIT_CHARS = 4000
"""How much of an upstream's own error text is kept and shown."""

_URLS = re.compile(r"\b(?:https?|wss?)://[^\s\"'<>)\]}]+")
_KEYS = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|pplx|fw|AIza|AQ\.)[-_]?[A-Za-z0-9*_-]{12,}"
    r"|\b(?:hf_|nvapi-|LLM\|\d+\|)[\w-]{12,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|\b[Bb]earer\s+[\w.~+/=-]{8,}"
    r"|(?<=[?&\s])(?:api[-_]?key|key|token)=[^\s&\"']+"
)
_KEY_HINTS = (
    "sk",
    "pk",
    "rk",
    "xai",
    "pplx",
    "fw",
    "AIza",
    "AQ.",
    "hf_",
    "nvapi-",
    "LLM|",
    "eyJ",
    "earer",
    "key=",
    "token=",
)
"""One of these is in every text that `_KEYS` finds something in: looking for them costs a hundredth of the pattern."""
_HEADERS = re.compile(
    # What stands after a header's name, as `name: value` or in the repr of a dict or of ASGI's pairs, also within JSON.
    r"((?:x-(?:goog-)?api-key|api-key|(?:proxy-)?authorization|(?:set-)?cookie|sessionid)[\\\"']{0,2}\s*[:=,]\s*b?[\\\"']{0,2})"
    r"(?:(?:basic|bearer|token)\s+[^\s\"',;)}]+|(?=[^\s\"',;)}]*\d)[^\s\"',;)}]{8,})",
    re.IGNORECASE,
)
_HEADER_HINTS = ("api-key", "authorization", "cookie", "sessionid")
_LOGINS = re.compile(r"(\b[a-z][a-z0-9+]{0,30}://[^\s:/@]{0,100}:)[^\s/@]{1,200}(?=@)")
_REMOVED = "[key removed]"
_concealed: set[str] = set()
_concealed_pattern: re.Pattern[str] | None = None


def conceal(secret: str | None) -> None:
    """From now on `redact` removes `secret`, whatever it looks like. Ignored if it is too short to be one (under 8)."""
    global _concealed_pattern
    if secret and len(secret) >= 8 and secret not in _concealed:
        _concealed.add(secret)
        _concealed_pattern = re.compile("|".join(map(re.escape, sorted(_concealed, key=len, reverse=True))))


def redact(text: str) -> str:
    """`text` without anything that is known to be a key or looks like one: safe to log."""
    if _concealed_pattern is not None:
        text = _concealed_pattern.sub(_REMOVED, text)
    if any(hint in text for hint in _KEY_HINTS):
        text = _KEYS.sub(_REMOVED, text)
    lowered = text.lower()
    if any(hint in lowered for hint in _HEADER_HINTS):
        text = _HEADERS.sub(rf"\1{_REMOVED}", text)
    return _LOGINS.sub(rf"\1{_REMOVED}", text) if "://" in text else text


def scrub(text: str) -> str:
    """`text` without URLs and keys: safe to show to a caller and to store."""
    return redact(_URLS.sub("[url removed]", text))
