"""Template filters of the console: numbers as `gateway_project.console.words` writes them, and what its pages share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django import template
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounting.record import Record
from gateway_project.console import key_charts, navigation, story, words

register = template.Library()
SERIES = 6
"""Colours of the style sheet: series-0 and on."""
for written in (words.count, words.usd, words.percent, words.share, words.duration, words.per_million):
    register.filter(written.__name__, written)


@register.filter
def item(mapping: Mapping[Any, Any], key: Any) -> Any:
    """`mapping[key]`, "" where there is none."""
    return mapping.get(key, "")


@register.filter
def breakable(name: str) -> SafeString:
    """An id that may be broken into lines after its slashes, colons and underscores, and nowhere within its words."""
    return format_html_join("", "{}<wbr>", ((part,) for part in re.findall(r"[^/:_@]*[/:_@]|[^/:_@]+", name)))


@register.filter
def series(place: int) -> int:
    """The number of the colour for what stands at `place`, which may be further back than there are colours."""
    return place % SERIES


@register.filter
def told(request_id: str) -> story.Story | None:
    """The story of the request with that id, None where nothing is known of it."""
    record: Record | None = story.find(request_id)
    return story.of(record) if record else None


@register.filter
def places(request: HttpRequest) -> list[navigation.Place]:
    """The links of the bar at the top."""
    return navigation.places(request)


@register.filter
def charts_of_key(pk: int) -> list[SafeString]:
    """What the key with that primary key used lately."""
    return key_charts.drawn(pk, timezone.now())
