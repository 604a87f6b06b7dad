"""Middleware of Django's own lane for the pages of the API there, and for programs that look for it elsewhere."""

from __future__ import annotations

import re

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin

from completions import envelope
from gateway_project import browsers
from gateway_project.errors import InvalidRequest, MethodNotAllowed, NotFound


class AccountPages(MiddlewareMixin):
    """Lets browser applications read these pages as they read the lean lane's; and their 404 and 405 are JSON, too.

    A session is no key: without `Access-Control-Allow-Credentials` no browser shows another site what a session may see.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if not _API.match(request.path_info):
            return None
        values = (value for _, given in request.GET.lists() for value in given)
        if any("\x00" in text for text in (request.path_info, *values)):
            # PostgreSQL takes it for no text at all and fails.
            return envelope.response(InvalidRequest("The address contains the character NUL (%00); leave it out."))
        return browsers.preflight(request)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not _API.match(request.path_info):
            return _misdirected(request) if response.status_code in (404, 405) and _is_program(request) else response
        is_json = response.get("Content-Type", "").startswith("application/json")
        if response.status_code == 404 and not is_json:
            response = envelope.response(NotFound(f"There is nothing at {request.path}; the API's pages are at /v1/docs."))
        elif response.status_code == 405 and not is_json:
            # Ninja names them in the order of a set, which differs between processes.
            allowed = ", ".join(sorted(response.get("Allow", "").split(", ")))
            refusal = MethodNotAllowed(f"{request.method} is not allowed here; use {allowed}", headers={"Allow": allowed})
            response = envelope.response(refusal)
        for name, value in browsers.READABLE.items():
            response.headers[name] = value
        return response


_API = re.compile(r"/(?:api/)?v1/")
_CONSOLE = re.compile(r"/(?:admin|static)/")


def _is_program(request: HttpRequest) -> bool:
    """Whether it is no browser that asks, which says that it takes HTML, and no address of the console."""
    return "text/html" not in request.headers.get("Accept", "") and not _CONSOLE.match(request.path_info)


def _misdirected(request: HttpRequest) -> HttpResponse:
    """For a program whose base URL lacks `/v1`, as most that come here: JSON that says so."""
    base = request.build_absolute_uri(reverse("v1:api-root")).rstrip("/")
    return envelope.response(NotFound(f"{request.method} {request.path} is nothing here; the API's base URL is {base}"))
