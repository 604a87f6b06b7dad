"""Middleware of the API in either lane: what browsers need and, in Django's own lane, the error envelope.

The lean lane takes asynchronous functions only (`settings.API_MIDDLEWARE`); `AccountPages` is for Django's (`MIDDLEWARE`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from completions import envelope
from gateway_project.errors import InvalidRequest, MethodNotAllowed, NotFound

View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

EXPOSED = ", ".join(
    (
        "X-Generation-Id", "X-Request-Id", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
        "WWW-Authenticate",
    )
)  # fmt: skip
PREFLIGHT_S = "86400"


def cors(view: View) -> View:
    """Let browser applications of any origin call the API: keys travel in a header, never in cookies, so nothing is lent.

    A preflight is answered with the very headers it asks for, since SDKs send many of their own (`x-stainless-…`).
    """

    async def answer(request: HttpRequest) -> HttpResponseBase:
        return _preflight(request) or _readable(await view(request))

    return answer


class AccountPages(MiddlewareMixin):
    """As `cors`, for the pages of the API that Django's own lane serves; and their 404 and 405 are JSON, too.

    A session is no key: without `Access-Control-Allow-Credentials` no browser shows another site what a session may see.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if not _API.match(request.path_info):
            return None
        values = (value for _, given in request.GET.lists() for value in given)
        if any("\x00" in text for text in (request.path_info, *values)):
            # PostgreSQL takes it for no text at all and fails.
            return envelope.response(InvalidRequest("The address contains the character NUL (%00); leave it out."))
        return _preflight(request)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not _API.match(request.path_info):
            return response
        is_json = response.get("Content-Type", "").startswith("application/json")
        if response.status_code == 404 and not is_json:
            response = envelope.response(NotFound(f"There is nothing at {request.path}; the API's pages are at /v1/docs."))
        elif response.status_code == 405 and not is_json:
            # Ninja names them in the order of a set, which differs between processes.
            allowed = ", ".join(sorted(response.get("Allow", "").split(", ")))
            refusal = MethodNotAllowed(f"{request.method} is not allowed here; use {allowed}", headers={"Allow": allowed})
            response = envelope.response(refusal)
        return _readable(response)


_API = re.compile(r"/(?:api/)?v1/")


def _preflight(request: HttpRequest) -> HttpResponse | None:
    """The answer to a browser that asks whether it may ask."""
    headers = request.headers
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in headers:
        return None
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


def _readable(response: HttpResponseBase) -> HttpResponseBase:
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = EXPOSED
    return response
