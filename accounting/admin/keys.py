"""Keys in admin: made, limited and revoked here.

A key's secret is rendered once, in the answer to the form that made it, and is in no session, message or row.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounting import keys
from accounting.admin import exhibits, key_usage
from accounting.admin.key_filters import ValidityFilter
from accounting.admin.key_usage import KeyList
from accounting.models import ApiKey
from catalog.actions import ExplainedDeletion, set_values
from catalog.models import LanguageModel, Provider


class ChosenFromMany(FilteredSelectMultiple):
    """Admin's two boxes, wrapped: their script puts itself first in what holds it, which would be before the label."""

    def render(self, *args: Any, **kwargs: Any) -> SafeString:
        return format_html('<div class="related-widget-wrapper">{}</div>', super().render(*args, **kwargs))


class ApiKeyForm(forms.ModelForm):
    allowed_models = forms.MultipleChoiceField(
        required=False, widget=ChosenFromMany("models", is_stacked=False), help_text="None chosen: all."
    )
    allowed_providers = forms.MultipleChoiceField(
        required=False, widget=ChosenFromMany("providers", is_stacked=False), help_text="None chosen: all."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("allowed_models", LanguageModel.objects.values_list("public_id", flat=True))
        self._offer("allowed_providers", Provider.objects.values_list("slug", flat=True))

    def _offer(self, name: str, known: QuerySet[Any, str]) -> None:
        """What exists, and what the key names already: a name given through the API may be of a model still to come."""
        field = self.fields.get(name)
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = [(choice, choice) for choice in sorted({*known, *getattr(self.instance, name)})]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if given.get("limit_reset") and given.get("limit_usd") is None and "limit_usd" not in self.errors:
            self.add_error("limit_reset", "There is no limit to reset; give a spend limit too, or choose never.")
        expires_at = given.get("expires_at")
        if "expires_at" in self.changed_data and expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", "This is in the past; to end the key now, disable it.")
        return given


@admin.register(ApiKey)
class ApiKeyAdmin(ExplainedDeletion, admin.ModelAdmin):
    form = ApiKeyForm
    list_display = ["name_and_label", "state", "budget", "used_in_period", "last_used", "expires_at", "revoke_button"]
    list_filter = [ValidityFilter, "is_management", "limit_reset"]
    list_select_related = ["owner"]
    search_fields = ["name", "label", "hash__startswith", "owner__username"]
    search_help_text = "Name, owner, or the first or last letters of the key."
    ordering = ["-created_at"]
    actions = ["revoke", "enable"]
    fieldsets = [
        (None, {"fields": ["name", "owner", "is_management", "is_disabled", "expires_at"]}),
        ("Spending and speed", {"fields": ["limit_usd", "limit_reset", "rpm_limit", "tpm_limit", "max_concurrency"]}),
        ("What it may use", {"fields": ["allowed_models", "allowed_providers"]}),
        ("What is kept of its requests", {"fields": ["log_content"]}),
    ]
    autocomplete_fields = ["owner"]

    def get_urls(self) -> list[URLPattern]:
        revoking = path("<int:pk>/revoke/", self.admin_site.admin_view(self.revoke_now), name="accounting_apikey_revoke")
        return [revoking, *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeyList]:
        return KeyList

    def get_list_display(self, request: HttpRequest) -> Any:
        may_revoke = self.has_change_permission(request)
        return [name for name in self.list_display if may_revoke or name != "revoke_button"]

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        identity = ("Identity", {"fields": ["label", "hash", "created_at", "updated_at"]})
        return [*self.fieldsets, identity] if obj else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["label", "hash", "created_at", "updated_at"]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> Any:
        # The answer shows the secret, so there is nothing to go on to but the list.
        only_save = {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **only_save})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        key, now = self.get_object(request, object_id), timezone.now()
        shown: dict[str, Any] = {}
        if key is not None:
            usage = key_usage.of_keys([key.pk], now)[key.pk]
            shown = {"usage": usage, "budget": key_usage.budget(key, usage, now), "state": self.state(key)}
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            obj.secret = keys.issue(obj)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The one page that ever shows the secret. Admin marks it `no-store`, as it does all of its pages."""
        context = {**self.admin_site.each_context(request), "title": "API key created", "opts": self.opts, "key": obj}
        return TemplateResponse(request, "admin/accounting/apikey/created.html", context)

    def revoke_now(self, request: HttpRequest, pk: int) -> HttpResponse:
        """One key, from its button."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self.revoke(request, ApiKey.objects.filter(pk=pk))
        return redirect("admin:accounting_apikey_changelist")

    @admin.display(description="key", ordering="name")
    def name_and_label(self, key: ApiKey) -> SafeString:
        told = [key.label, "management key" if key.is_management else "", str(key.owner or "")]
        return format_html('{}<span class="quiet under">{}</span>', key.name, " · ".join(filter(None, told)))

    @admin.display(description="budget", ordering="limit_usd")
    def budget(self, key: Any) -> SafeString | str:
        found = key_usage.budget(key, key.usage, timezone.now())
        if found is None:
            return "no limit"
        return exhibits.budget(found)

    @admin.display(description="used in the period")
    def used_in_period(self, key: Any) -> SafeString:
        used, words = key.usage.of_period(key), key_usage.WINDOWS[key.limit_reset or "monthly"]
        return format_html(
            '{} in {} request{}<span class="quiet under">{} tokens {}</span>',
            exhibits.usd(used.usd), f"{used.requests:,}", "" if used.requests == 1 else "s", f"{used.tokens:,}", words,
        )  # fmt: skip

    @admin.display(description="last used (UTC)")
    def last_used(self, key: Any) -> str:
        return f"{key.usage.last_used_at:%Y-%m-%d %H:%M}" if key.usage.last_used_at else "never"

    @admin.display(description="")
    def revoke_button(self, key: ApiKey) -> SafeString | str:
        if self.state(key) != "valid":
            return ""
        # Inside the list's own form, which has the token against forged requests.
        return format_html(
            '<button type="submit" class="tool" formaction="{}" aria-label="Revoke {} now">Revoke</button>',
            reverse("admin:accounting_apikey_revoke", args=[key.pk]), key.name,
        )  # fmt: skip

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        if key.deleted_at:
            return "deleted"
        if key.is_disabled:
            return "disabled"
        return "expired" if key.expires_at and key.expires_at <= timezone.now() else "valid"

    @admin.action(description="Revoke the selected %(verbose_name_plural)s", permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        set_values(request, chosen, "Revoked", is_disabled=True, updated_at=timezone.now())

    @admin.action(description="Enable the selected %(verbose_name_plural)s", permissions=["change"])
    def enable(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        alive = chosen.filter(deleted_at=None)
        set_values(request, alive, "Enabled", is_disabled=False, updated_at=timezone.now())
