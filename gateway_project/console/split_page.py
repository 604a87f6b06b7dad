"""The page of a model's traffic split: sliders, what really happens beside them, saving, and going back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from catalog import environment
from catalog import loader as catalogue_loader
from catalog.entries import AdapterEntry, Catalogue
from catalog.models import Adapter, LanguageModel
from gateway_project.console import lately, process, split
from gateway_project.console.lately import Landed
from gateway_project.console.process import Headroom
from gateway_project.console.split import Saved, Split, SplitRefused
from gateway_project.console.words import NOTHING, per_million
from routingapp.entries import OffloadMode
from routingapp.strategies import STRATEGIES

READ = ("catalog.view_languagemodel", "routingapp.view_routingweight")
WRITE = ("routingapp.change_routingweight", "routingapp.change_routingpolicy")
OFFLOAD_WORDS = {
    OffloadMode.ENVIRONMENT.value: "As the default policy says, or else the OFFLOAD variable",
    OffloadMode.ON.value: "Hard offload: local engines take no traffic of this model",
    OffloadMode.OFF.value: "Never offloaded, whatever OFFLOAD says",
}
IN_FORCE_AFTER = timedelta(seconds=1)
"""Requests that arrive sooner after a change may still have gone by the split before it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One adapter of the model: what is set, what was the case in the last hour, what it costs and how fast it is.

    `actual`: the share of the requests that `Live` is of. `headroom`: what its limits leave, where there are any.
    """

    adapter: Adapter
    entry: AdapterEntry | None
    percentage: int
    actual: float | None
    hour: lately.Hour
    state: str
    told: str
    headroom: Sequence[Headroom]

    @property
    def price(self) -> str:
        """USD per million tokens in and out."""
        if self.entry is None:
            return NOTHING
        return " / ".join(per_million(self.entry.prices.known.get(name)) for name in ("prompt", "completion"))


def show(request: HttpRequest, pk: int) -> HttpResponse:
    """The page itself."""
    model = model_of(request, pk, READ)
    present, history = split.read(model), split.history(model)
    landed = _landed(model, history)
    lines = _lines(model, present, landed)
    context = {
        **admin.site.each_context(request),
        "title": f"Traffic split of {model.public_id}",
        "model": model,
        "opts": LanguageModel._meta,
        "split": present,
        "lines": lines,
        "names": {line.adapter.pk: line.adapter.provider.name for line in lines},
        "strategies": STRATEGIES,
        "offload_modes": OFFLOAD_WORDS,
        "history": history,
        "actual_of": _told(landed, history),
        "may_change": request.user.has_perms(WRITE),
    }
    return TemplateResponse(request, "admin/console/split.html", context)


def live(request: HttpRequest, pk: int) -> JsonResponse:
    """Where the requests since the last change were answered: shares by adapter id, and a sentence saying of what."""
    model = model_of(request, pk, READ)
    history = split.history(model)
    landed = _landed(model, history)
    adapters = Adapter.objects.filter(model=model).values_list("pk", flat=True)
    return JsonResponse({"of": _told(landed, history), "shares": {adapter: landed.share(adapter) for adapter in adapters}})


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


def _landed(model: LanguageModel, history: Sequence[Saved]) -> Landed:
    """The requests of the last hour, or of the time since the split was changed if that is shorter."""
    start = timezone.now() - lately.HOUR
    if history:
        start = max(start, history[0].at + IN_FORCE_AFTER)
    return lately.landed(model.public_id, start)


def _told(landed: Landed, history: Sequence[Saved]) -> str:
    """A sentence saying what the actual shares are shares of."""
    when = "in the last hour"
    if history and landed.since == history[0].at + IN_FORCE_AFTER:
        when = "since this split was saved"
    if not landed.requests:
        return f"There was no request {when}, so there is no actual share yet."
    latest = "" if landed.is_all else "latest "
    return f"Actual: where the {latest}{landed.requests} request{'s'[: landed.requests != 1]} {when} were answered."


def _lines(model: LanguageModel, present: Split, landed: Landed) -> list[Line]:
    hour = lately.hour(timezone.now(), model.public_id)
    entries = _entries(model, catalogue_loader.load(environment.lookup))
    here = process.look()
    percentages = present.percentages
    lines = []
    for adapter in Adapter.objects.filter(model=model).select_related("provider", "model").order_by("pk"):
        entry, own = entries.get(adapter.pk), hour.get(adapter.pk, lately.Hour())
        headroom = here.headroom.get(adapter.pk, ()) if here else ()
        lines.append(
            Line(
                adapter,
                entry,
                percentages[adapter.pk],
                landed.share(adapter.pk),
                own,
                *_state(adapter, entry, here),
                headroom,
            )
        )
    return lines


def _entries(model: LanguageModel, catalogue: Catalogue) -> dict[int, AdapterEntry]:
    found = catalogue.find(model.public_id)
    return {entry.id: entry for entry in found.adapters} if found else {}


def _state(adapter: Adapter, entry: AdapterEntry | None, here: process.ProcessView | None) -> tuple[str, str]:
    if entry is None:
        return "", "the model is switched off"
    if not entry.is_enabled:
        return "", "switched off"
    if entry.unconfigured:
        return "", entry.unconfigured
    view = here.health.get(adapter.pk) if here else None
    if view is not None and view.state != "closed":
        return "bad", f"paused after faults, {view.retry_in_s:.0f} s left: {view.last_error}"
    engine = here.engines.get(adapter.provider_id) if here else None
    if engine is not None and not engine.is_up:
        return "bad", f"engine down: {engine.detail}"
    return "good", "well" if here else "configured"
