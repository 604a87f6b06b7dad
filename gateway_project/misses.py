"""The errors for an address that has nothing, nothing for this method, or that Django does not read: the same in both lanes,
inside and outside of the API.
"""

from __future__ import annotations

import re

from django.conf import settings
from django.core.exceptions import DisallowedHost, SuspiciousOperation, TooManyFieldsSent
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from gateway_project.errors import InvalidRequest, MethodNotAllowed, NotFound

API = re.compile(r"/(?:api/)?v1(?:/|$)")
"""What the path of a page of the API begins with, and its base URL is."""


def is_of_api(request: HttpRequest) -> bool:
    """Whether the address is below one of the API's prefixes."""
    return API.match(request.path_info) is not None


def nothing_at(request: HttpRequest) -> NotFound:
    return NotFound(f"There is nothing at {request.path}; {_cure(request)}")


def not_allowed(request: HttpRequest, response: HttpResponseBase) -> MethodNotAllowed:
    """`response`: Django's own to the wrong method, which says in `Allow` which ones are right."""
    # Ninja names them in the order of a set, which differs between processes.
    allowed = ", ".join(sorted(response.get("Allow", "").split(", ")))
    message = f"{request.method} is not allowed here; use {allowed}"
    return MethodNotAllowed(message if is_of_api(request) else f"{message}; {_cure(request)}", headers={"Allow": allowed})


def unreadable(error: SuspiciousOperation) -> InvalidRequest:
    """What Django calls suspicious. Its own words are for operators."""
    if isinstance(error, TooManyFieldsSent):
        return InvalidRequest(f"There are more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS} parameters; send fewer.")
    if isinstance(error, DisallowedHost):
        return InvalidRequest("The Host header names none of this server's hosts (ALLOWED_HOSTS).")
    return InvalidRequest("The request cannot be read; send it as the API's pages at /v1/docs say.")


def _cure(request: HttpRequest) -> str:
    """Most programs that are outside of the API have a base URL without `/v1`."""
    if is_of_api(request):
        return "the API's pages are listed at /v1/docs."
    # Not the whole URL: the lean lane takes any Host, and a proxy may have changed host and scheme.
    return f"the API is below {reverse('v1:api-root').rstrip('/')}"
