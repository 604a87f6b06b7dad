"""The endpoints of the request path: definitions only, the work is in `completions.pipeline`."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.security.base import AuthBase

from accounting import keys, wrong_keys
from accounting.credentials import KeyEntry
from completions import bodies, envelope, intake, models_list, runtime, snapshot
from completions.exchange import ClientHeaders, Exchange
from completions.models_list import ModelsQuery
from completions.reply import Reply
from completions.schemas import ChatRequest
from gateway_project.errors import GatewayError, Unauthenticated

router = Router(tags=["inference"])


class ApiKeyAuth(AuthBase):
    """`Authorization: Bearer sk-or-v1-…` or `x-api-key`. Looked up in the snapshot: no database, no thread."""

    openapi_type: str = "http"
    openapi_scheme: str = "bearer"
    openapi_name: ClassVar[str] = "api_key"

    async def __call__(self, request: HttpRequest) -> KeyEntry:
        return authenticate(request)


def authenticate(request: HttpRequest) -> KeyEntry:
    """The caller of `request`. Raises `Unauthenticated`, and `RateLimited` for whoever sends one wrong key after another."""
    secret = keys.secret_from(request.META.get("HTTP_AUTHORIZATION"), request.META.get("HTTP_X_API_KEY"))
    try:
        return snapshot.current().keys.authenticate(secret, time.time())
    except Unauthenticated as error:
        if secret is not None:
            wrong_keys.count(request, error)
        raise


_CHAT_BODY = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"}}}}
_CHAT_SCHEMA = {"requestBody": _CHAT_BODY, "security": [{ApiKeyAuth.__name__: []}]}


@router.post("/chat/completions", auth=None, summary="Answer a conversation", openapi_extra=_CHAT_SCHEMA)
async def chat_completions(request: HttpRequest) -> Reply:
    # Key and body are checked here and not by django-ninja, whose way to either costs more than the check.
    request.auth = authenticate(request)  # type: ignore[attr-defined]
    return await answer(request, bodies.read(request))


async def answer(request: HttpRequest, body: dict[str, Any]) -> Reply:
    """The reply to the chat request `body` of an authenticated caller. Raises `GatewayError`."""
    chat = bodies.checked(ChatRequest, body)
    exchange = _begin(request)
    intake.accept(exchange, chat, body, log_content=exchange.key.log_content or settings.LOG_CONTENT)
    generation_id, pipeline = exchange.record.request_id, runtime.current().pipeline
    if chat.stream:
        return Reply.stream(await pipeline.stream(exchange), generation_id)
    return Reply.whole(await pipeline.complete(exchange), generation_id)


@router.get("/models", auth=None, summary="List the models")
async def list_models(request: HttpRequest) -> HttpResponse:
    query = ModelsQuery.parse(request.GET)
    return envelope.json(models_list.page(snapshot.current().catalogue, query, request.path))


@router.get("/models/count", auth=None, summary="Count the models")
async def count_models(request: HttpRequest) -> HttpResponse:
    return envelope.json({"data": {"count": len(snapshot.current().catalogue.models)}})


@router.get("/models/user", summary="List the models your key may use")
async def list_user_models(request: HttpRequest) -> HttpResponse:
    key: KeyEntry = request.auth  # type: ignore[attr-defined]
    query = ModelsQuery.parse(request.GET)
    return envelope.json(models_list.page(snapshot.current().catalogue, query, request.path, only=key.allowed_models))


@router.get("/model/{path:model_id}", auth=None, summary="One model, as OpenRouter answers")
async def get_model(request: HttpRequest, model_id: str) -> HttpResponse:
    return envelope.json({"data": models_list.card(snapshot.current().catalogue, model_id)})


@router.get("/models/{path:model_id}", auth=None, summary="One model, as OpenAI answers")
async def retrieve_model(request: HttpRequest, model_id: str) -> HttpResponse:
    catalogue = snapshot.current().catalogue
    if model_id.endswith("/endpoints"):
        return envelope.json({"data": models_list.endpoints(catalogue, model_id.removesuffix("/endpoints"))})
    card = models_list.card(catalogue, model_id)
    return envelope.json({**card, "data": card})


@router.get("/providers", auth=None, summary="List the providers")
async def list_providers(request: HttpRequest) -> HttpResponse:
    return envelope.json({"data": models_list.providers(snapshot.current().catalogue)})


def reject(request: HttpRequest, error: GatewayError) -> HttpResponse:
    """The error's response. What was rejected after authentication, before it was planned, is recorded here."""
    exchange: Exchange | None = getattr(request, "exchange", None)
    if exchange is None and request.method == "POST" and isinstance(getattr(request, "auth", None), KeyEntry):
        exchange = _begin(request)
        body = getattr(request, "json_body", {})
        model = body.get("model")
        exchange.record.requested_model = exchange.record.model_id = model[:200] if isinstance(model, str) else ""
    if exchange is None:
        return envelope.response(error)
    exchange.failed(error)
    return envelope.response(error, {"X-Generation-Id": exchange.record.request_id})


def _begin(request: HttpRequest) -> Exchange:
    """The exchange of this request, begun once and kept on it."""
    meta = request.META
    headers = ClientHeaders(
        http_referer=meta.get("HTTP_REFERER", "")[:500],
        app_title=(meta.get("HTTP_X_OPENROUTER_TITLE") or meta.get("HTTP_X_TITLE", ""))[:200],
        user_agent=meta.get("HTTP_USER_AGENT", "")[:300],
        session_id=meta.get("HTTP_X_SESSION_ID", "")[:256] or None,
    )
    exchange = Exchange.begin(request.auth, snapshot.current(), headers)  # type: ignore[attr-defined]
    exchange.address = meta.get("REMOTE_ADDR", "")
    request.exchange = exchange  # type: ignore[attr-defined]
    return exchange
