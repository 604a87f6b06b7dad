"""The bar at the top of every page of admin: the places that operators go to every day, as far as they may."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from gateway_project.console import roles

_PLACES = (
    ("Dashboard", "admin:index", "accounting.view_usagetotal"),
    ("Traffic", "admin:console_traffic", "routingapp.view_routingweight"),
    ("Requests", "admin:accounting_requestlog_changelist", "accounting.view_requestlog"),
    ("Playground", "admin:console_playground", roles.USE_PLAYGROUND),
    ("API keys", "admin:accounting_apikey_changelist", "accounting.view_apikey"),
    ("Models", "admin:catalog_languagemodel_changelist", "catalog.view_languagemodel"),
    ("Adapters", "admin:catalog_adapter_changelist", "catalog.view_adapter"),
    ("Providers", "admin:catalog_provider_changelist", "catalog.view_provider"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One link of the bar. `is_here`: the page shown is it, or is below it."""

    label: str
    address: str
    is_here: bool


def places(request: HttpRequest) -> list[Place]:
    """The links for the user of `request`."""
    found = []
    for label, name, right in _PLACES:
        if request.user.has_perm(right):
            address = reverse(name)
            is_here = request.path == address or (name != "admin:index" and request.path.startswith(address))
            found.append(Place(label, address, is_here))
    return found
