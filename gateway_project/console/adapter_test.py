"""Testing one adapter: a tiny real request that only this adapter may answer, through the pipeline that callers use.

It is planned, sent, charged and recorded like a caller's, under the user's name. The adapter and its model may be switched off:
that is when one wants to know whether it would work. An unconfigured one says what it lacks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from accounting.record import Record
from catalog import environment, loader
from catalog.entries import Catalogue
from catalog.models import Adapter
from completions import intake, runtime, snapshot, upstream
from completions.exchange import ClientHeaders, Exchange
from completions.schemas import ChatRequest
from gateway_project.console import roles, story
from gateway_project.console.playground import STAFF
from gateway_project.errors import GatewayError, NotServing

QUESTION = "Reply with the single word: ready"
MAX_TOKENS = 16


@require_POST
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks the adapter and shows what came of it."""
    if not request.user.has_perms((roles.USE_PLAYGROUND, "catalog.change_adapter")):
        raise PermissionDenied
    adapter = get_object_or_404(Adapter.objects.select_related("model", "provider"), pk=pk)
    record, answer, problem = None, "", ""
    # Read from the rows, not from the snapshot: that has only what is switched on, and may be a second old.
    only = loader.alone(adapter.pk, environment.lookup)
    try:
        record, answer, problem = async_to_sync(_ask)(only, request.user.get_username())
    except GatewayError as error:
        problem = error.message
    outcome = problem or f"answered in {record.latency_ms if record else 0} ms"
    LogEntry.objects.log_actions(
        request.user.pk or 0, [adapter], CHANGE, change_message=f"Tested: {outcome}"[:500], single_object=True
    )
    context = {
        **admin.site.each_context(request),
        "title": f"Test of {adapter}",
        "adapter": adapter,
        "question": QUESTION,
        "answer": answer,
        "problem": problem,
        "story": story.of(record) if record else None,
        "is_short": True,
    }
    return TemplateResponse(request, "admin/console/adapter_test.html", context)


async def _ask(catalogue: Catalogue, username: str) -> tuple[Record | None, str, str]:
    """The request's record, the answer's text, and what went wrong, if anything. Raises `GatewayError` before it is sent."""
    if not runtime.is_ready():
        raise NotServing("This process serves pages only. Start the gateway itself: manage.py serve")
    model = catalogue.models[0]
    adapter = model.adapters[0]
    if unconfigured := adapter.unconfigured:
        raise NotServing(f"This adapter is unconfigured: {unconfigured}.")
    endpoints = {adapter.id: upstream.prepare(adapter, environment.lookup)}
    only = replace(snapshot.current(), catalogue=catalogue, endpoints=endpoints)
    raw: dict[str, Any] = {
        "model": model.id,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": MAX_TOKENS,
        "user": f"staff:{username}",
    }
    exchange = Exchange.begin(STAFF, only, ClientHeaders(app_title="Adapter test"))
    intake.accept(exchange, ChatRequest.model_validate(raw), raw, log_content="none")
    try:
        body = await runtime.current().pipeline.complete(exchange)
    except GatewayError as error:
        return exchange.record, "", error.message
    message = body["choices"][0]["message"]
    return exchange.record, message.get("content") or message.get("reasoning") or "", ""
