"""What admin does to the chosen rows of a list: switch them, change them in one statement, refuse to delete them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest


class Switching:
    """For a `ModelAdmin` of rows with `is_enabled`: actions that switch the chosen rows on or off."""

    @admin.action(description="Enable the selected %(verbose_name_plural)s", permissions=["change"])
    def enable(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        self._switch(request, chosen, is_enabled=True)

    @admin.action(description="Disable the selected %(verbose_name_plural)s", permissions=["change"])
    def disable(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        self._switch(request, chosen, is_enabled=False)

    def _switch(self, request: HttpRequest, chosen: QuerySet[Any], *, is_enabled: bool) -> None:
        set_values(request, chosen, "Enabled" if is_enabled else "Disabled", is_enabled=is_enabled)


class ExplainedDeletion:
    """For a `ModelAdmin` of rows that the ledger's totals protect: says so, instead of asking for the right to delete totals.

    Nobody has that right, so admin's own page would send people to ask for a permission that does not exist.
    """

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        shown, counts, lacking, protected = super().get_deleted_objects(objs, request)  # type: ignore[misc]
        return shown, counts, set() if protected else lacking, protected


def set_values(request: HttpRequest, chosen: QuerySet[Any], done: str, **values: Any) -> None:
    """Set `values` on the chosen rows, write it into their history and tell the user: "Disabled 2 models."."""
    rows = list(chosen)
    count = chosen.model._base_manager.filter(pk__in=[row.pk for row in rows]).update(**values)
    LogEntry.objects.log_actions(request.user.pk or 0, rows, CHANGE, change_message=f"{done}.")
    noun = chosen.model._meta.verbose_name if count == 1 else chosen.model._meta.verbose_name_plural
    messages.success(request, f"{done} {count} {noun}. The gateway follows within a second.")
