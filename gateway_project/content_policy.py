"""The Content-Security-Policy of pages: what a browser may load and run on admin, the home page and the API's documentation.

No inline script anywhere: what an upstream or a caller wrote into a log row cannot run, even if a template forgot to escape it.
Inline styles stay allowed, Django admin and the API's documentation have some.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

HEADER = "Content-Security-Policy"
POLICY = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


@sync_and_async_middleware
def content_policy(view: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware of Django's lane. A view that sets the header itself keeps its own."""
    if iscoroutinefunction(view):
        return _asynchronous(view)

    def answer(request: HttpRequest) -> HttpResponseBase:
        return _with_policy(view(request))

    return answer


def _asynchronous(view: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> Callable[[HttpRequest], Any]:
    async def answer(request: HttpRequest) -> HttpResponseBase:
        return _with_policy(await view(request))

    return answer


def _with_policy(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault(HEADER, POLICY)
    return response
