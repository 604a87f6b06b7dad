"""What a provider offers, from its page: its list of models beside the catalogue, and the chosen ones added, switched off.

Asking it makes the gateway call an address that operators wrote (SECURITY.md), so that it takes the right to write it, and a POST.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from catalog import environment
from catalog.discovery import asking
from catalog.discovery.asking import DiscoveryFailed
from catalog.models import Provider
from catalog.price_admin import per_million
from routingapp import adoption
from routingapp.adoption import Adopted, AdoptionRefused

ASKING = "catalog.change_provider"
ADDING = ("catalog.add_languagemodel", "catalog.add_adapter", "routingapp.add_routingweight")
PRICING = "catalog.add_adapterprice"
CHOSEN, NAMED = "add", "as:"
"""Fields of the form: the provider's ids that were ticked, and, after the prefix, the id that callers shall use for each."""


def show(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks the provider and shows its list; what is asked for with GET, by a reload say, leads back to the provider."""
    provider = _provider(request, pk)
    if request.method != "POST":
        return redirect("admin:catalog_provider_change", provider.pk)
    return _page(request, provider, chosen={})


def add(request: HttpRequest, pk: int) -> HttpResponse:
    """Adds what was ticked, as the provider describes it now."""
    provider = _provider(request, pk)
    if request.method != "POST":
        return redirect("admin:catalog_provider_change", provider.pk)
    if not request.user.has_perms(ADDING):
        raise PermissionDenied
    chosen = {upstream: request.POST.get(f"{NAMED}{upstream}", upstream) for upstream in request.POST.getlist(CHOSEN)}
    if not chosen:
        return _page(request, provider, chosen, problems=("Nothing was chosen: tick the models to add.",))
    try:
        offered = asking.ask(provider, environment.lookup)
        author = request.user if isinstance(request.user, User) else None
        added = adoption.adopt(provider, offered.offers, chosen, author=author, may_price=request.user.has_perm(PRICING))
    except DiscoveryFailed as failure:
        return _page(request, provider, chosen, failure=str(failure))
    except AdoptionRefused as refusal:
        return _page(request, provider, chosen, problems=refusal.problems, offered=offered)
    _record(request, provider, added)
    _tell(request, provider, added)
    models = reverse("admin:catalog_languagemodel_changelist")
    return redirect(f"{models}?adapters__provider__id__exact={provider.pk}")


def _page(
    request: HttpRequest,
    provider: Provider,
    chosen: dict[str, str],
    *,
    problems: tuple[str, ...] = (),
    failure: str = "",
    offered: asking.Offered | None = None,
) -> HttpResponse:
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": f"What {provider.name} offers",
        "provider": provider,
        "problems": problems,
        "may_add": request.user.has_perms(ADDING),
    }
    if not failure and offered is None:
        try:
            offered = asking.ask(provider, environment.lookup)
        except DiscoveryFailed as error:
            failure = str(error)
    if offered is not None:
        known = adoption.compare(provider, offered.offers)
        context["rows"] = [
            {
                "known": row,
                "offer": row.offer,
                "context": _tokens(row.offer.context_length),
                "answer": _tokens(row.offer.max_output_length),
                "price": per_million(row.offer.pricing) if row.offer.pricing else "",
                "is_chosen": row.offer.upstream_model in chosen,
                "name": chosen.get(row.offer.upstream_model, row.public_id),
            }
            for row in sorted(known, key=lambda row: bool(row.served_as))
        ]
        context["left_out"] = offered.left_out
        context["served"] = sum(bool(row.served_as) for row in known)
    return TemplateResponse(request, "admin/console/discovery.html", {**context, "failure": failure})


def _tokens(length: int | None) -> str:
    return f"{length:,}" if length else ""


def _tell(request: HttpRequest, provider: Provider, added: Adopted) -> None:
    messages.success(
        request,
        f"{added.sentence()} Test them from their adapters' pages, then enable the model, or the adapter and its share.",
    )
    if added.unpriced:
        names = ", ".join(str(adapter) for adapter in added.unpriced)
        messages.warning(
            request, f"The price that {provider.name} gives was left out for {names}: setting prices is a right of its own."
        )


def _record(request: HttpRequest, provider: Provider, added: Adopted) -> None:
    """Into the history of what was added, and of the provider."""
    user = request.user.pk or 0
    for rows in (added.models, added.adapters):
        LogEntry.objects.log_actions(user, rows, ADDITION, change_message=f"Added from what {provider.name} offers.")
    LogEntry.objects.log_actions(
        user, [provider], CHANGE, change_message=f"Discovered: {added.sentence()}", single_object=True
    )


def _provider(request: HttpRequest, pk: int) -> Provider:
    if not request.user.has_perm(ASKING):
        raise PermissionDenied
    return get_object_or_404(Provider, pk=pk)
