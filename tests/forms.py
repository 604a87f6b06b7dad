"""Admin's forms as a person uses them: open a page, change a field, send everything, read what was wrong."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.forms import MultiWidget
from django.test import Client
from django.urls import reverse


def page_of(row: Model, page: str = "change") -> str:
    """The address of a row's page in admin: change, delete or history."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk])


def filled_in(browser: Client, page: str, **changes: Any) -> dict[str, Any]:
    """What a browser would send from `page` with nothing edited but `changes`."""
    context = browser.get(page).context
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    sent: dict[str, Any] = {}
    for bound in (field for form in forms for field in form):
        value = bound.value()
        if value is None or value is False:
            continue
        if isinstance(bound.field.widget, MultiWidget):
            parts = enumerate(bound.field.widget.decompress(value) or [])
            sent |= {f"{bound.html_name}_{place}": part for place, part in parts}
        else:
            sent[bound.html_name] = value
    return sent | changes


def errors_of(response: Any) -> dict[str, list[str]]:
    """What the page that came back says, by field; fields of inlines by their full name."""
    assert response.status_code == 200, "the form was accepted"
    found = dict(response.context["adminform"].form.errors)
    for inline in response.context["inline_admin_formsets"]:
        for form in inline.formset.forms:
            found |= {f"{form.prefix}-{name}": told for name, told in form.errors.items()}
    return found
