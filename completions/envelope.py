"""OpenRouter's error envelope (openrouter.md 4.1): the one shape in which any failure leaves the gateway."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpResponse

from completions import metrics, underway
from gateway_project.errors import GatewayError, TooManyWrongKeys


def response(error: GatewayError, headers: dict[str, str] | None = None) -> HttpResponse:
    """`error` as an HTTP response with its status, its headers and `headers`, and `{"error": {code, message, metadata}}`.

    The request under way is told what it was refused with, for whoever counts those without a record.
    """
    if isinstance(error, TooManyWrongKeys):
        metrics.too_many_wrong_keys()
    underway.refused(error.domain, error.error_type)
    return json({"error": error.body()}, status=error.status, headers={**error.headers, **(headers or {})})


def json(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """`body` as a JSON response."""
    return HttpResponse(
        orjson.dumps(body, default=str), status=status, content_type="application/json", headers=headers or {}
    )
