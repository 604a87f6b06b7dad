"""Loading models.yaml and routing.yaml from the console: first what would change, then, if it is still the same, the change."""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from catalog.models import LanguageModel
from catalog.seed.problems import SeedRefused
from catalog.seed.report import Report
from routingapp import seed

RIGHTS = (
    "catalog.add_languagemodel", "catalog.change_languagemodel", "catalog.change_provider", "catalog.change_adapter",
    "routingapp.change_routingweight", "routingapp.change_routingpolicy",
)  # fmt: skip
OPTIONS = {
    "prune": "Disable what an earlier load wrote and the files no longer have",
    "force": "Overwrite what was edited in admin",
}


def show(request: HttpRequest) -> HttpResponse:
    """What loading the files now would change. Changes nothing."""
    _check(request)
    prune, force = (name in request.GET for name in OPTIONS)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Load models.yaml",
        "options": [(name, words, name in request.GET) for name, words in OPTIONS.items()],
    }
    try:
        report = seed.load(dry_run=True, prune=prune, force=force)
    except SeedRefused as refusal:
        context["problems"] = str(refusal).splitlines()
    else:
        context |= {"lines": report.lines(), "summary": report.summary(), "version": version_of(report)}
    return TemplateResponse(request, "admin/console/seeding.html", context)


@require_POST
def apply(request: HttpRequest) -> HttpResponse:
    """Loads the files, if that changes just what was shown."""
    _check(request)
    prune, force = (name in request.POST for name in OPTIONS)
    back = redirect("admin:console_seeding")
    try:
        if version_of(seed.load(dry_run=True, prune=prune, force=force)) != request.POST.get("version"):
            messages.error(request, "The files or the rows have changed meanwhile. This is what would change now.")
            return back
        report = seed.load(prune=prune, force=force)
    except SeedRefused as refusal:
        messages.error(request, f"Nothing was loaded: {refusal}")
        return back
    first = LanguageModel.objects.order_by("pk")[:1]
    LogEntry.objects.log_actions(request.user.pk or 0, first, CHANGE, change_message=report.summary())
    messages.success(request, f"{report.summary()} The gateway follows within a second.")
    return back


def version_of(report: Report) -> str:
    """A name for just these changes."""
    return hashlib.sha256("\n".join(report.lines()).encode()).hexdigest()[:16]


def _check(request: HttpRequest) -> None:
    if not request.user.has_perms(RIGHTS):
        raise PermissionDenied
