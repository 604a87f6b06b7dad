"""The API object: who may call, which routers are mounted, and one handler per family of errors."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser

from accounting.access import KeyAuth, ManagementAuth, ManagementOrStaffAuth
from accounting.api import management_router, own_router, statistics_router
from accounting.keys import KeyRing
from completions import api as inference
from completions import envelope, snapshot
from completions.api import authenticate
from completions.api import router as completions_router
from completions.routing_api import router as routing_router
from gateway_project.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    NotServing,
    PayloadTooLarge,
    Unauthenticated,
    Unprocessable,
    UnsupportedMediaType,
)


class JsonParser(Parser):
    """Reads JSON bodies, and keeps the parsed body on the request so that no field is lost to validation."""

    def parse_body(self, request: HttpRequest) -> Any:
        content_type = request.META.get("CONTENT_TYPE", "")
        if content_type and "json" not in content_type:
            raise UnsupportedMediaType(
                f"Content-Type {content_type[:100]!r} is not taken; send Content-Type: application/json"
            )
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"The body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise InvalidRequest(f"The body must be a JSON object, not {type(body).__name__}")
        request.json_body = body  # type: ignore[attr-defined]
        return body


class Api(NinjaAPI):
    """django-ninja without the spare response that it makes for every request, in case the view sets headers on it.

    Views of the lean lane give whole responses, so theirs is never sent; making it took 6 % of a request's time.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._spare = HttpResponse(content_type="application/json")

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        return self._spare if hasattr(request, "is_lean") else super().create_temporal_response(request)


api = Api(
    title="OpenRouter-compatible gateway",
    version="1",
    description="One API in front of many language models.",
    parser=JsonParser(),
    auth=authenticate,
    urls_namespace="v1",
)
api.add_router("", completions_router)


def key_ring() -> KeyRing:
    """The keys in force."""
    return snapshot.current().keys


api.add_router("", own_router, auth=KeyAuth(key_ring))
api.add_router("", management_router, auth=ManagementAuth(key_ring))
api.add_router("", statistics_router, auth=ManagementOrStaffAuth(key_ring))
api.add_router("", routing_router, auth=ManagementOrStaffAuth(key_ring))


def reject(request: HttpRequest, error: GatewayError) -> HttpResponse:
    """The error's response. Of inference a rejected request leaves a record, too; of account pages none does."""
    return envelope.response(error) if hasattr(request, "is_for_account") else inference.reject(request, error)


@api.exception_handler(GatewayError)
def on_gateway_error(request: HttpRequest, error: GatewayError) -> HttpResponse:
    return reject(request, error)


@api.exception_handler(HttpError)
def on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """django-ninja wraps what the parser raises; the cause is the better story."""
    if isinstance(error.__cause__, GatewayError):
        return reject(request, error.__cause__)
    if error.status_code == 401:
        return reject(request, Unauthenticated(str(error)))
    wrapped = InvalidRequest(str(error))
    wrapped.status = error.status_code
    return reject(request, wrapped)


@api.exception_handler(ValidationError)
def on_validation_error(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Wrong shapes are 400, values out of their range 422; the message names the first field, metadata all."""
    if request.method == "POST" and not request.body:
        return reject(request, InvalidRequest("The body is empty; send a JSON object"))  # ninja asks no parser then
    problems = [{"path": path_of(problem), "message": problem["msg"], "type": problem["type"]} for problem in error.errors]
    # Of a union's complaints the one that got furthest is the one that helps.
    first = max(problems, key=lambda problem: len(problem["path"]))
    is_range = all(problem["type"] in RANGE_ERRORS for problem in problems)
    message = first["message"].removeprefix("Value error, ")
    if first["path"]:
        message = f"{first['path']}: {message}"
    kind = Unprocessable if is_range else InvalidRequest
    return reject(request, kind(message, metadata={"errors": problems[:20]}))


@api.exception_handler(RequestDataTooBig)
def on_too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    """Only account pages get here; the lean lane has its own limit."""
    return reject(request, PayloadTooLarge(f"{error} Send less."))


@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
def on_lost_database(request: HttpRequest, error: Exception) -> HttpResponse:
    """Account pages need the database, which inference does not."""
    logging.getLogger("gateway.api").error("%s %s: the database does not answer: %s", request.method, request.path, error)
    retry = {"Retry-After": "5"}
    return reject(request, NotServing("The database does not answer; requests to models are served on.", headers=retry))


@api.exception_handler(Exception)
def on_bug(request: HttpRequest, error: Exception) -> HttpResponse:
    logging.getLogger("gateway.api").error("%s %s failed", request.method, request.path, exc_info=error)
    return reject(request, InternalError("Internal error; the gateway's log has more."))


RANGE_ERRORS = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "too_long", "too_short", "string_too_long",
     "string_too_short", "multiple_of", "finite_number"}
)  # fmt: skip


def path_of(problem: dict[str, Any]) -> str:
    """`messages[0].role` from pydantic's location; the names of the parameter and of union members are left out."""
    path = ""
    where = problem["loc"]
    for step in where[2:] or where[1:]:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier() and step not in ("str", "float", "int", "bool", "Message", "Part"):
            path += f".{step}" if path else step
    return path
