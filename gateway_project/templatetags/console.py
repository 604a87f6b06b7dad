"""Template filters of the console: numbers as `gateway_project.console.words` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template

from accounting.record import Record
from gateway_project.console import story, words

register = template.Library()
for written in (words.count, words.usd, words.percent, words.duration, words.per_million):
    register.filter(written.__name__, written)


@register.filter
def item(mapping: Mapping[Any, Any], key: Any) -> Any:
    """`mapping[key]`, "" where there is none."""
    return mapping.get(key, "")


@register.filter
def told(request_id: str) -> story.Story | None:
    """The story of the request with that id, None where nothing is known of it."""
    record: Record | None = story.find(request_id)
    return story.of(record) if record else None
