"""The API object: who may call, which routers are mounted, and one handler per family of errors."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser

from accounting.access import KeyAuth, ManagementAuth, ManagementOrStaffAuth
from accounting.api import management_router, own_router, statistics_router
from accounting.keys import KeyRing
from completions import api as inference
from completions import bodies, envelope, snapshot
from completions.api import ApiKeyAuth
from completions.api import router as completions_router
from completions.reply import Reply
from completions.routing_api import router as routing_router
from completions.schemas import ChatRequest
from gateway_project import misses
from gateway_project.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    NotServing,
    PayloadTooLarge,
    Unauthenticated,
)


class JsonParser(Parser):
    """Reads bodies where django-ninja checks them: the account pages'."""

    def parse_body(self, request: HttpRequest) -> Any:
        return bodies.read(request)


class Api(NinjaAPI):
    """django-ninja without the spare response that it makes for every request, in case the view sets headers on it.

    Views of the lean lane give whole responses, so theirs is never sent; making it took 6 % of a request's time.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._spare = HttpResponse(content_type="application/json")

    def get_openapi_schema(self, **options: Any) -> Any:
        """With the body of inference, which its view checks itself."""
        schema = super().get_openapi_schema(**options)
        body = ChatRequest.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= {**body.pop("$defs", {}), "ChatRequest": body}
        return schema

    def create_response(self, request: HttpRequest, data: Any, **options: Any) -> HttpResponse:
        """Ours is what the lean lane sends, so it stays as it is."""
        return cast(HttpResponse, data) if isinstance(data, Reply) else super().create_response(request, data, **options)

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        return self._spare if hasattr(request, "is_lean") else super().create_temporal_response(request)


api = Api(
    title="OpenRouter-compatible gateway",
    version="1",
    description="One API in front of many language models.",
    parser=JsonParser(),
    auth=ApiKeyAuth(),
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
    if request.method == "POST" and not request.body:
        return reject(request, InvalidRequest("The body is empty; send a JSON object"))  # ninja asks no parser then
    # The names of the place and of the parameter are left out, but for a parameter that is itself the problem.
    problems = [{**problem, "loc": problem["loc"][2:] or problem["loc"][1:]} for problem in error.errors]
    return reject(request, bodies.refusal(problems))


@api.exception_handler(RequestDataTooBig)
def on_too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    """Only account pages get here; the lean lane has its own limit."""
    return reject(request, PayloadTooLarge(f"{error} Send less."))


@api.exception_handler(SuspiciousOperation)
def on_unreadable(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
    return reject(request, misses.unreadable(error))


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
