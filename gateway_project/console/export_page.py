"""The catalogue as files to take away: models.yaml, and routing.yaml where there is a default policy."""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from routingapp import export

RIGHTS = (
    "catalog.view_provider", "catalog.view_languagemodel", "catalog.view_adapter", "catalog.view_adapterprice",
    "routingapp.view_routingweight", "routingapp.view_routingpolicy",
)  # fmt: skip


def show(request: HttpRequest) -> HttpResponse:
    """What there is to take, or why it cannot be had."""
    _check(request)
    context = {**admin.site.each_context(request), "title": "Export models.yaml"}
    try:
        context["exported"] = export.write()
    except export.ExportRefused as refusal:
        context["problems"] = refusal.problems
    return TemplateResponse(request, "admin/console/export.html", context)


def download(request: HttpRequest, name: str) -> HttpResponse:
    _check(request)
    try:
        exported = export.write()
    except export.ExportRefused:
        return show(request)
    text = {export.MODELS_FILE: exported.models, export.ROUTING_FILE: exported.routing}.get(name)
    if text is None:
        raise Http404(f"There is no {name} to export.")
    return HttpResponse(
        text,
        content_type="application/yaml; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _check(request: HttpRequest) -> None:
    if not request.user.has_perms(RIGHTS):
        raise PermissionDenied
