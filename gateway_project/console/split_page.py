"""The page of a model's traffic split: sliders, what really happens beside them, saving, and going back."""

from __future__ import annotations

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from catalog.models import LanguageModel
from gateway_project.console import split, split_lines
from gateway_project.console.split import SplitRefused
from routingapp.entries import OffloadMode
from routingapp.strategies import STRATEGIES

READ = ("catalog.view_languagemodel", "routingapp.view_routingweight")
WRITE = ("routingapp.change_routingweight", "routingapp.change_routingpolicy")
OFFLOAD_WORDS = {
    OffloadMode.ENVIRONMENT.value: "As the default policy says, or else the OFFLOAD variable",
    OffloadMode.ON.value: "Hard offload: local engines take no traffic of this model",
    OffloadMode.OFF.value: "Never offloaded, whatever OFFLOAD says",
}


def show(request: HttpRequest, pk: int) -> HttpResponse:
    """The page itself."""
    model = model_of(request, pk, READ)
    present, history = split.read(model), split.history(model)
    found = split_lines.read(model, present, history)
    context = {
        **admin.site.each_context(request),
        "title": f"Traffic split of {model.public_id}",
        "model": model,
        "opts": LanguageModel._meta,
        "split": present,
        "lines": found.lines,
        "names": {line.adapter.pk: line.adapter.provider.name for line in found.lines},
        "strategies": STRATEGIES,
        "offload_modes": OFFLOAD_WORDS,
        "history": history,
        "actual_of": found.actual_of,
        "may_change": request.user.has_perms(WRITE),
    }
    return TemplateResponse(request, "admin/console/split.html", context)


def live(request: HttpRequest, pk: int) -> JsonResponse:
    """What the page shows of this moment: by adapter id, and a sentence saying of which requests."""
    model = model_of(request, pk, READ)
    found = split_lines.read(model, split.read(model), split.history(model))
    return JsonResponse({"of": found.actual_of, "adapters": {line.adapter.pk: line.live for line in found.lines}})


@require_POST
def save(request: HttpRequest, pk: int) -> HttpResponse:
    """Puts the sent split in force."""
    model = model_of(request, pk, WRITE)
    try:
        new = split.wanted(request.POST.dict(), split.read(model))
        _tell(request, split.save(model, new, version=request.POST.get("version", ""), user=request.user))  # type: ignore[arg-type]
    except SplitRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("admin:console_split", pk=model.pk)


@require_POST
def restore(request: HttpRequest, pk: int, entry_id: int) -> HttpResponse:
    """Puts an earlier split in force again."""
    model = model_of(request, pk, WRITE)
    version = request.POST.get("version", "")
    try:
        _tell(request, split.restore(model, entry_id, version=version, user=request.user))  # type: ignore[arg-type]
    except SplitRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("admin:console_split", pk=model.pk)


def model_of(request: HttpRequest, pk: int, rights: tuple[str, ...]) -> LanguageModel:
    """The model of that primary key, for users with these rights; raises what becomes 403 or 404."""
    if not request.user.has_perms(rights):
        raise PermissionDenied
    return get_object_or_404(LanguageModel, pk=pk)


def _tell(request: HttpRequest, is_changed: bool) -> None:
    if is_changed:
        messages.success(request, "The split is saved. The gateway follows within a second.")
    else:
        messages.info(request, "Nothing differs from the split in force.")
