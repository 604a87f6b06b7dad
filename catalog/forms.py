"""JSON fields as people edit them in admin: pretty-printed, and refused with the line and column of the mistake."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

ONE_LINE_CHARACTERS = 70
"""Up to here a value is shown on one line: `["text", "image"]` reads better so."""


class JsonField(forms.JSONField):
    """A JSON value in a text area. An area left empty means `empty_value`, so that `[]` and `{}` need not be typed."""

    def __init__(self, *, empty_value: Any = None, **kwargs: Any) -> None:
        super().__init__(empty_value=empty_value, **kwargs)

    def prepare_value(self, value: Any) -> str:
        if isinstance(value, forms.fields.InvalidJSONInput):
            return value
        if value is None:
            return ""
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= ONE_LINE_CHARACTERS else json.dumps(value, ensure_ascii=False, indent=2)

    def to_python(self, value: Any) -> Any:
        if self.disabled or (value is not None and not isinstance(value, str)):
            return value
        if value is None or not value.strip():
            return self.empty_value
        try:
            given = json.loads(value, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            raise ValidationError(
                f"This is not JSON: {error.msg} at line {error.lineno}, column {error.colno}. Use double quotes, and no "
                "comma after the last item.",
                code="invalid",
            ) from None
        # Django runs no validators on an empty value, so an empty list where an object belongs must not come through.
        is_wrong_kind_of_empty = not given and self.empty_value is not None and type(given) is not type(self.empty_value)
        return self.empty_value if given is None or is_wrong_kind_of_empty else given


class JsonEditing:
    """For a `ModelAdmin` or inline: edits every JSON column with `JsonField`. An empty area means the column's default."""

    def formfield_for_dbfield(
        self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        if isinstance(db_field, models.JSONField):
            kwargs |= {
                "form_class": JsonField,
                "empty_value": None if db_field.null else db_field.get_default(),
                "widget": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3, "spellcheck": "false"}),
            }
        field: forms.Field | None = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        return field


def _refuse_constant(name: str) -> None:
    """NaN and Infinity are Python's, not JSON's: PostgreSQL would refuse them with a server error."""
    raise ValidationError(f"{name} is not JSON; give a number or null.", code="invalid")
