"""Who may call the account endpoints: every key its own, management keys everything, staff the statistics.

The keys come from outside, as a callable: which snapshot of them is in force is not accounting's to know.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpRequest
from ninja.security.base import AuthBase

from accounting import keys, wrong_keys
from accounting.credentials import KeyEntry, KeyRing
from gateway_project.errors import PermissionDenied, Unauthenticated

Ring = Callable[[], KeyRing]


class KeyAuth(AuthBase):
    """`request.auth` becomes the caller's `KeyEntry`, `ANONYMOUS` without a key where none is required.

    Synchronous, for views that are. It marks the request as one for an account: such requests leave no request log.
    """

    openapi_type: str = "http"
    openapi_scheme: str = "bearer"
    openapi_name: ClassVar[str] = "api_key"

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        super().__init__()

    def __call__(self, request: HttpRequest) -> Any:
        request.is_for_account = True  # type: ignore[attr-defined]
        secret = _secret(request)
        try:
            return self._ring().authenticate(secret, time.time())
        except Unauthenticated as error:
            if secret is not None:
                wrong_keys.count(request, error)
            raise


class ManagementAuth(KeyAuth):
    """Only management keys: 401 without a key, 403 with another one."""

    def __call__(self, request: HttpRequest) -> Any:
        return management(super().__call__(request))


class ManagementOrStaffAuth(ManagementAuth):
    """As `ManagementAuth`, or somebody of the staff who is logged in to admin.

    For GET alone. A session counts whoever caused the request, so nothing that changes anything may be behind it; what
    another site makes a browser fetch here it cannot read.
    """

    def __call__(self, request: HttpRequest) -> Any:
        if request.method == "GET" and _secret(request) is None:
            user = request.user
            if user.is_active and user.is_staff:
                request.is_for_account = True  # type: ignore[attr-defined]
                return user
        return super().__call__(request)


def management(caller: KeyEntry) -> KeyEntry:
    """`caller` if it is a management key. Raises `Unauthenticated` without a key, `PermissionDenied` for another one."""
    if caller.id is None:
        raise Unauthenticated(
            "Missing Authentication header: this page needs a management key. Send `Authorization: Bearer sk-or-v1-…`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if not caller.is_management:
        raise PermissionDenied(
            f"The API key {caller.label} is not a management key, which this page needs. Make one in admin, or with "
            "`manage.py createapikey --management`."
        )
    return caller


def _secret(request: HttpRequest) -> str | None:
    return keys.secret_from(request.META.get("HTTP_AUTHORIZATION"), request.META.get("HTTP_X_API_KEY"))
