"""Every error the gateway raises on purpose, and how it looks to a caller.

Owns the exception tree, HTTP statuses and the closed `error_type` vocabulary (openrouter.md 4.3), and what is taken out of
texts before they are shown. Knows nothing of Django, HTTP clients or rows: standard library only. Everybody imports from here,
and from no module below.

    GatewayError
    ├── CallerError                 the request is at fault; never retried, never counted against a provider
    │   ├── InvalidRequest          400  malformed JSON, wrong types, a field that cannot be honoured
    │   │   ├── PromptTooLong       400  for every adapter that might serve it: shorten it
    │   │   └── MaxTokensTooLarge   400  more than any adapter that might serve it can answer with
    │   ├── Unauthenticated         401  a key that was sent and is not valid, or none where one is required
    │   ├── PaymentRequired         402  a budget is spent
    │   ├── PermissionDenied        403  a valid key that may not do this
    │   ├── ModelNotFound           404  no model of that id (metadata: close matches)
    │   ├── NoEndpoints             404  the model exists, but nothing may, or is set up to, serve this request (metadata: why)
    │   ├── NotFound                404  no such page or record
    │   ├── MethodNotAllowed        405
    │   ├── RequestTimedOut         408  the request itself arrived too slowly
    │   ├── PayloadTooLarge         413
    │   ├── UnsupportedMediaType    415
    │   ├── Unprocessable           422  well-formed, but a value is out of its range
    │   └── RateLimited             429  our own limit
    │       └── TooManyWrongKeys    429  of one address: it is guessing
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
    ├── NoCandidates                503  no adapter of the model can serve right now, and at another moment one could
    └── GatewayFault                the gateway itself cannot serve
        ├── LedgerUnavailable       503  the request could not be recorded, so it is not served
        ├── NotServing              503  the process is starting, or its database does not answer
        │   └── ShuttingDown        503  the process ends, as its operator has asked
        └── InternalError           500
"""

from __future__ import annotations

from gateway_project.errors.base import DOMAINS, ERROR_TYPES, REFUSAL_DOMAINS, GatewayError
from gateway_project.errors.caller import (
    CallerError,
    InvalidRequest,
    MaxTokensTooLarge,
    MethodNotAllowed,
    ModelNotFound,
    NoEndpoints,
    NotFound,
    PayloadTooLarge,
    PaymentRequired,
    PermissionDenied,
    PromptTooLong,
    RateLimited,
    RequestTimedOut,
    TooManyWrongKeys,
    Unauthenticated,
    Unprocessable,
    UnsupportedMediaType,
)
from gateway_project.errors.gateway import GatewayFault, InternalError, LedgerUnavailable, NotServing, ShuttingDown
from gateway_project.errors.provider import (
    RAW_LIMIT_CHARS,
    ConnectionBroken,
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
from gateway_project.errors.redaction import conceal, redact, redact_each, scrub
from gateway_project.errors.routing import NoCandidates

__all__ = (
    "DOMAINS",
    "ERROR_TYPES",
    "RAW_LIMIT_CHARS",
    "REFUSAL_DOMAINS",
    "CallerError",
    "ConnectionBroken",
    "ContentRefused",
    "ContextLengthExceeded",
    "GatewayError",
    "GatewayFault",
    "InternalError",
    "InvalidRequest",
    "LedgerUnavailable",
    "MaxTokensTooLarge",
    "MethodNotAllowed",
    "ModelNotFound",
    "NoCandidates",
    "NoEndpoints",
    "NotFound",
    "NotServing",
    "PayloadTooLarge",
    "PaymentRequired",
    "PermissionDenied",
    "PromptTooLong",
    "ProviderAuthFailed",
    "ProviderError",
    "ProviderOverloaded",
    "ProviderRateLimited",
    "ProviderRejected",
    "ProviderTimeout",
    "ProviderUnavailable",
    "RateLimited",
    "RequestTimedOut",
    "ShuttingDown",
    "TooManyWrongKeys",
    "Unauthenticated",
    "Unprocessable",
    "UnsupportedMediaType",
    "conceal",
    "redact",
    "redact_each",
    "scrub",
)
