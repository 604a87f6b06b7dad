"""Errors of an upstream: what it said, without the secrets in it, and what follows for the breaker and the pipeline."""

from __future__ import annotations

from typing import ClassVar

from gateway_project.errors.base import GatewayError
from gateway_project.errors.redaction import scrub

RAW_LIMIT_CHARS = 4000
"""How much of an upstream's own error text is kept and shown."""


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
