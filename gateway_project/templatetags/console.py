"""Template filters of the console: numbers as `gateway_project.console.words` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template

from gateway_project.console import words

register = template.Library()
for written in (words.count, words.usd, words.percent, words.duration, words.per_million):
    register.filter(written.__name__, written)


@register.filter
def item(mapping: Mapping[Any, Any], key: Any) -> Any:
    """`mapping[key]`, "" where there is none."""
    return mapping.get(key, "")
