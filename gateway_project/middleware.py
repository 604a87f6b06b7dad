"""Middleware of Django's own lane for the pages of the API there, and for programs that look for it elsewhere."""

from __future__ import annotations

import logging
import re

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from completions import envelope
from gateway_project import browsers, misses
from gateway_project.errors import InvalidRequest


class AccountPages(MiddlewareMixin):
    """Lets browser applications read these pages as they read the lean lane's; and their 404 and 405 are JSON, too.

    A session is no key: without `Access-Control-Allow-Credentials` no browser shows another site what a session may see.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if not misses.is_of_api(request):
            return None
        try:
            request.get_host()
            values = [value for _, given in request.GET.lists() for value in given]
        except SuspiciousOperation as error:  # Where Django notices, it answers with a page, and says so in this log.
            logging.getLogger(f"django.security.{type(error).__name__}").warning("%s", error)
            return envelope.response(misses.unreadable(error))
        if any("\x00" in text for text in (request.path_info, *values)):
            # PostgreSQL takes it for no text at all and fails.
            return envelope.response(InvalidRequest("The address contains the character NUL (%00); leave it out."))
        return browsers.preflight(request)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_of_api = misses.is_of_api(request)
        is_json = response.get("Content-Type", "").startswith("application/json")
        if not is_json and (is_of_api or _is_program(request)):
            if response.status_code == 404:
                response = envelope.response(misses.nothing_at(request))
            elif response.status_code == 405:
                response = envelope.response(misses.not_allowed(request, response))
        if is_of_api:
            for name, value in browsers.READABLE.items():
                response.headers[name] = value
        return response


_CONSOLE = re.compile(r"/(?:admin|static)/")


def _is_program(request: HttpRequest) -> bool:
    """Whether it is no browser that asks, which says that it takes HTML, and no address of the console."""
    return "text/html" not in request.headers.get("Accept", "") and not _CONSOLE.match(request.path_info)
