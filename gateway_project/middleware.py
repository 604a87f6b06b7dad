"""Middleware of the lean lane: asynchronous functions only (`settings.API_MIDDLEWARE`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

EXPOSED = "X-Generation-Id, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
PREFLIGHT_S = "86400"


def cors(view: View) -> View:
    """Let browser applications of any origin call the API: keys travel in a header, never in cookies, so nothing is lent.

    A preflight is answered with the very headers it asks for, since SDKs send many of their own (`x-stainless-…`).
    """

    async def answer(request: HttpRequest) -> HttpResponseBase:
        headers = request.headers
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in headers:
            asked = headers.get("Access-Control-Request-Headers", "Authorization, Content-Type")
            return HttpResponse(
                status=204,
                headers={
                    "Access-Control-Allow-Origin": "*",
                    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
                    "Access-Control-Allow-Headers": asked.replace("\r", "").replace("\n", ""),
                    "Access-Control-Max-Age": PREFLIGHT_S,
                },
            )
        response = await view(request)
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response

    return answer
