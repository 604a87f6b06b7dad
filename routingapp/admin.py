"""Routing in admin: the weights inside the model page, the policies, and the hard offload switch.

The model page shows each adapter's share as the planner itself computes it, so that page and traffic cannot disagree.
"""

from __future__ import annotations

import random
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.validators import MinValueValidator
from django.db.models import QuerySet
from django.http import HttpRequest

from catalog import loader as catalogue_loader
from catalog.actions import set_values
from catalog.admin import AdapterInline, AliasInline, LanguageModelAdmin
from catalog.environment import lookup
from catalog.models import Adapter, LanguageModel
from gateway_project.errors import GatewayError
from routingapp import loader, plan
from routingapp.entries import OffloadMode
from routingapp.health import Health
from routingapp.models import RoutingPolicy, RoutingWeight


def shares_of(model: LanguageModel) -> dict[int, float]:
    """Of the next plain requests for `model`, the part that begins at each adapter, 0 to 1, by adapter id.

    While all engines are well: what a breaker or a limit says right now is left out. Empty where nothing can serve.
    """
    ask = plan.Ask(models=(model.public_id,), input_modalities=frozenset(), output_modalities=frozenset())
    catalogue, table = catalogue_loader.load(lookup), loader.load(settings.OFFLOAD)
    try:
        built = plan.build(ask, catalogue, table, Health(), now=0, dice=random.Random(0))
    except GatewayError:
        return {}
    return {candidate.adapter.id: candidate.share for candidate in built.candidates}


class WeightedAdapterForm(forms.ModelForm):
    weight = forms.FloatField(
        initial=1,
        validators=[MinValueValidator(0)],
        widget=forms.NumberInput(attrs={"min": 0, "step": "any", "class": "vIntegerField"}),
        help_text=RoutingWeight._meta.get_field("weight").help_text,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and hasattr(self.instance, "routing_weight"):
            weight = self.instance.routing_weight.weight
            self.initial["weight"] = int(weight) if weight.is_integer() else weight

    def save(self, commit: bool = True) -> Any:
        adapter = super().save(commit)
        if commit:
            RoutingWeight.objects.update_or_create(adapter=adapter, defaults={"weight": self.cleaned_data["weight"]})
        return adapter


class WeightedAdapterInline(AdapterInline):
    """One adapter per row, with its weight. Admin makes a new inline for each page, so `shares` is computed once a page."""

    form = WeightedAdapterForm
    fields = ["provider", "upstream_model", "weight", "share", "quantization", "is_enabled", "state"]
    readonly_fields = ["share", "state"]
    shares: dict[int, float] | None = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Adapter]:
        return super().get_queryset(request).select_related("routing_weight")

    @admin.display(description="weight")
    def weight(self, adapter: Adapter) -> str:
        """For those who may only look: others see the form's field of this name."""
        return f"{adapter.routing_weight.weight:g}" if hasattr(adapter, "routing_weight") else "1"

    @admin.display(description="share")
    def share(self, adapter: Adapter) -> str:
        """What the weights come to, as saved."""
        if not adapter.pk:
            return ""
        if self.shares is None:
            self.shares = shares_of(adapter.model)
        share = self.shares.get(adapter.pk)
        if share is None:
            return "none"
        return f"{share:.1%}" if share else "stands by"


admin.site.unregister(LanguageModel)


@admin.register(LanguageModel)
class RoutedLanguageModelAdmin(LanguageModelAdmin):
    """The catalogue's model page, with weights."""

    inlines = [WeightedAdapterInline, AliasInline]


@admin.register(RoutingWeight)
class RoutingWeightAdmin(admin.ModelAdmin):
    list_display = ["adapter", "upstream_model", "weight"]
    list_editable = ["weight"]
    list_filter = [("adapter__provider", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["adapter__model", "adapter__provider"]
    search_fields = ["adapter__model__public_id", "adapter__provider__slug", "adapter__upstream_model"]
    search_help_text = "Model id, provider or upstream model."
    ordering = ["adapter__model__public_id", "adapter__provider__slug"]
    autocomplete_fields = ["adapter"]

    @admin.display(description="upstream model", ordering="adapter__upstream_model")
    def upstream_model(self, weight: RoutingWeight) -> str:
        return weight.adapter.upstream_model


class RoutingPolicyForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if "model" in given and RoutingPolicy.objects.filter(model=given["model"]).exclude(pk=self.instance.pk).exists():
            owner = f"{given['model']} has a policy" if given["model"] else "The default policy exists"
            self.add_error("model", f"{owner} already; edit that one, or choose another model.")
        return given


@admin.register(RoutingPolicy)
class RoutingPolicyAdmin(admin.ModelAdmin):
    form = RoutingPolicyForm
    list_display = ["applies_to", "strategy", "offload", "local_fraction", "max_attempts", "deadline_s"]
    list_editable = ["offload"]
    list_filter = ["strategy", "offload"]
    list_select_related = ["model"]
    search_fields = ["model__public_id"]
    search_help_text = "Model id."
    actions = ["offload_on", "offload_off", "offload_as_environment"]
    fieldsets = (
        (None, {"fields": ("model", "strategy")}),
        ("Local engines", {"fields": ("offload", "local_fraction", "health_check_interval_s", "health_check_timeout_s")}),
        ("When a local engine is saturated", {"fields": ("local_max_in_flight", "local_max_waiting", "local_max_ttft_s")}),
        ("Patience", {"fields": ("max_attempts", "deadline_s", "longest_wait_s", "resumes", "hedges")}),
    )
    autocomplete_fields = ["model"]

    @admin.display(description="applies to", ordering="model")
    def applies_to(self, policy: RoutingPolicy) -> str:
        return str(policy.model or "every model without a policy of its own")

    @admin.action(description="Hard offload: switch on", permissions=["change"])
    def offload_on(self, request: HttpRequest, chosen: QuerySet[RoutingPolicy]) -> None:
        set_values(request, chosen, "Switched hard offload on for", offload=OffloadMode.ON)

    @admin.action(description="Hard offload: switch off", permissions=["change"])
    def offload_off(self, request: HttpRequest, chosen: QuerySet[RoutingPolicy]) -> None:
        set_values(request, chosen, "Switched hard offload off for", offload=OffloadMode.OFF)

    @admin.action(description="Hard offload: follow the default policy or OFFLOAD", permissions=["change"])
    def offload_as_environment(self, request: HttpRequest, chosen: QuerySet[RoutingPolicy]) -> None:
        set_values(request, chosen, "Switched hard offload back to OFFLOAD for", offload=OffloadMode.ENVIRONMENT)
