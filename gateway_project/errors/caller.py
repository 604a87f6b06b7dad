"""Errors of the request itself: never retried, never counted against a provider."""

from __future__ import annotations

from gateway_project.errors.base import GatewayError


class CallerError(GatewayError):
    status = 400
    error_type = "invalid_request"
    domain = "caller"


class InvalidRequest(CallerError):
    pass


class PromptTooLong(InvalidRequest):
    error_type = "context_length_exceeded"


class MaxTokensTooLarge(InvalidRequest):
    error_type = "max_tokens_exceeded"


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


class TooManyWrongKeys(RateLimited):
    """Apart from the limits of requests that somebody may make."""
