"""System checks of the rows: what `manage.py check --database default` and `migrate` say about the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError

from catalog import environment, loader

SHOWN = 5


@register(Tags.database)
def unpriced_adapters(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> list[Warning]:
    """Hosted adapters whose answers would be counted as free because nobody has given their price."""
    if settings.UNPRICED == "allow" or DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        catalogue = loader.load(environment.lookup)
    except DatabaseError:
        # Before `migrate` the tables are not those that this version reads, and Django says so itself.
        return []
    names = [
        f"{model.id} at {adapter.provider.slug}"
        for model in catalogue.models
        for adapter in model.adapters
        if adapter.is_enabled and adapter.provider.unconfigured is None and not adapter.is_priced
    ]
    if not names:
        return []
    listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    fate = "They take no traffic" if settings.UNPRICED == "block" else "Their answers are counted as free"
    return [
        Warning(
            f"No price is known for {listed}",
            hint=f"{fate}. Give them or their models a price, zeros if they are free, or set UNPRICED.",
            id="catalog.W001",
        )
    ]
