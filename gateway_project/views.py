"""Pages outside the API: the home page and the health checks."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from accounting import ledger
from completions import envelope, runtime, snapshot
from gateway_project import misses

BACKLOG_WARNING_S = 30.0
"""A journal that waits longer than this for the database is named as degraded."""


@csrf_exempt  # A program that posts here has no token, and is to learn that this is not the API.
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """What this is, which models there are, and how to call it. For anybody: it names no provider and no variable."""
    models = snapshot.current().catalogue.models if snapshot.is_loaded() else ()
    able = {model.id for model in models if any(one.is_usable for one in model.adapters)}
    context = {
        "models": sorted(models, key=lambda model: model.id not in able),
        "able": able,
        "base_url": request.build_absolute_uri("/v1"),
        "is_ready": snapshot.is_loaded() and runtime.is_ready(),
        "is_key_required": settings.REQUIRE_API_KEY,
    }
    return render(request, "home.html", context)


async def api_root(request: HttpRequest) -> HttpResponse:
    """The base URL of the API itself, which people open and programs ask when a path is missing."""
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return HttpResponseRedirect(reverse("v1:openapi-view"))
    return envelope.response(misses.nothing_at(request))


async def live(request: HttpRequest) -> HttpResponse:
    """The process runs."""
    return envelope.json({"status": "ok"})


async def ready(request: HttpRequest) -> HttpResponse:
    """Requests can be served: there is a snapshot, and the process is not draining."""
    is_ready = snapshot.is_loaded() and runtime.is_ready()
    return envelope.json({"status": "ok" if is_ready else "unavailable"}, status=200 if is_ready else 503)


async def health(request: HttpRequest) -> HttpResponse:
    """What the background checks last saw. 200 while requests can be served; `degraded` names what is not well."""
    if not (snapshot.is_loaded() and runtime.is_ready()):
        return envelope.json({"status": "unavailable", "degraded": ["snapshot"], "checks": {}}, status=503)
    checks = {"database": _database(), "journal": _journal(), "catalogue": _catalogue(), "engines": _engines()}
    degraded = [name for name in ("database", "journal", "catalogue") if not checks[name]["ok"]]
    degraded += [f"engine:{slug}" for slug, engine in checks["engines"].items() if not engine["ok"]]
    return envelope.json({"status": "degraded" if degraded else "ok", "degraded": degraded, "checks": checks})


def _database() -> dict[str, Any]:
    status = ledger.status()
    return {"ok": status.is_database_available, "last_error": status.last_error}


def _journal() -> dict[str, Any]:
    status = ledger.status()
    age = status.oldest_unwritten_age_s
    return {
        "ok": (age is None or age < BACKLOG_WARNING_S) and not status.lost_total,
        "backlog": status.backlog_lines,
        "backlog_bytes": status.backlog_bytes,
        "oldest_s": round(age, 1) if age is not None else None,
        "lost": status.lost_total,
    }


def _catalogue() -> dict[str, Any]:
    loaded = snapshot.current()
    return {
        "ok": bool(loaded.catalogue.models),
        "models": len(loaded.catalogue.models),
        "revision": loaded.revision,
        "age_s": round(time.time() - loaded.loaded_at, 1),
    }


def _engines() -> dict[str, Any]:
    """Every local engine that is in use and has been probed, by slug."""
    health = runtime.current().health
    engines = {
        adapter.provider.slug: health.engine(adapter.provider.id)
        for model in snapshot.current().catalogue.models
        for adapter in model.adapters
        if adapter.provider.is_local and adapter.is_usable
    }
    return {slug: {"ok": seen.is_up, "detail": seen.detail} for slug, seen in engines.items() if seen is not None}
