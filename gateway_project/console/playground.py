"""The playground: staff ask models, side by side, and see what came, what it cost and why it went where it went.

Answers stream through the same function as those of /v1/chat/completions, in this process. The caller is the staff session with
its CSRF token: no key is made, so none can leak into a page, a log or a browser's storage. Each request is recorded like any
other, without a key, under the user's name.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_protect

from accounting.credentials import KeyEntry
from accounting.record import Record
from catalog import environment
from catalog import loader as catalogue_loader
from completions import api as inference
from completions import bodies, runtime
from completions.live import EventSource
from gateway_project.console import roles, story
from gateway_project.errors import GatewayError, InvalidRequest, NotServing
from gateway_project.errors import PermissionDenied as NotAllowed

STAFF = KeyEntry(id=None, hash="", name="playground", label="playground")
"""The caller of every playground request: not a key, and nobody else can be it."""
SETTLED_WITHIN_S = 2.0


def show(request: HttpRequest) -> HttpResponse:
    """The page. `?replay=<request id>` fills it with what that request asked, as far as it was stored."""
    if not request.user.has_perm(roles.USE_PLAYGROUND):
        raise PermissionDenied
    models = [
        {"id": model.id, "name": model.name, "able": any(adapter.is_usable for adapter in model.adapters)}
        for model in catalogue_loader.load(environment.lookup).models
    ]
    settings = {
        "models": sorted(models, key=lambda model: not model["able"]),
        "answer": reverse("admin:console_playground_answer"),
        "trace": reverse("admin:console_trace", args=["REQUEST"]),
        "base_url": request.build_absolute_uri("/v1"),
        "replay": _replayed(request),
    }
    context = {
        **admin.site.each_context(request),
        "title": "Playground",
        "settings": settings,
        "is_serving": runtime.is_ready(),
    }
    return TemplateResponse(request, "admin/console/playground.html", context)


def _replayed(request: HttpRequest) -> dict[str, Any] | None:
    request_id = request.GET.get("replay", "")
    if not request_id or not request.user.has_perm(story.READ):
        return None
    record = story.find(request_id)
    return story.replayable(record) if record else None


def trace(request: HttpRequest, request_id: str) -> HttpResponse:
    """The story of a request as a piece of HTML, from the moment its answer has ended."""
    if not request.user.has_perm(roles.USE_PLAYGROUND):
        raise PermissionDenied
    record = _settled(request_id)
    if record is None or not (record.app_title == "Playground" or request.user.has_perm(story.READ)):
        return HttpResponse("This request is not recorded (yet).", status=404, content_type="text/plain")
    return TemplateResponse(request, "admin/console/story.html", {"story": story.of(record), "is_short": True})


def _settled(request_id: str) -> Record | None:
    """The record, which of an answer that was just stopped is there once the gateway has noticed."""
    ends_at = time.monotonic() + SETTLED_WITHIN_S
    while (record := story.find(request_id)) is None and time.monotonic() < ends_at:
        time.sleep(0.05)
    return record


@csrf_protect
async def answer(request: HttpRequest) -> HttpResponseBase:
    """One chat request in, its answer out, as /v1/chat/completions would give it."""
    try:
        if request.method != "POST":
            raise InvalidRequest("Only POST is answered here; open the playground's page in a browser.")
        user = await request.auser()
        await _check(user)
        body = bodies.read(request) | {"user": f"staff:{user.get_username()}"}
        request.auth = STAFF  # type: ignore[attr-defined]
        request.META["HTTP_X_TITLE"] = "Playground"
        reply = await inference.answer(request, body)
    except GatewayError as error:
        return inference.reject(request, error)
    if reply.events is None:
        return HttpResponse(reply.content, headers=reply.readable_headers())
    # Not the events themselves: Django drops an iterator that it cannot close.
    return StreamingHttpResponse(_parts(reply.events), headers=reply.readable_headers())


async def _check(user: User | AnonymousUser) -> None:
    if not (user.is_active and user.is_staff and await user.ahas_perm(roles.USE_PLAYGROUND)):
        raise NotAllowed(
            "The playground is for staff who may use it; log in to admin, or ask an administrator for the right."
        )
    if not runtime.is_ready():
        raise NotServing("This process serves pages only. Start the gateway itself: manage.py serve")


async def _parts(source: EventSource) -> AsyncIterator[bytes]:
    """The stream's events. Left early, it ends the upstream call at once."""
    async with aclosing(source):
        async for part in source:
            yield part
