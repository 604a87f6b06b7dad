"""Providers that have refused our key of late: a fault that no retry heals, and that the operator must be told of.

Falling back hides it from callers. Names the environment variable to check, never its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from accounting import attempts
from catalog.models import Adapter, Provider

WITHIN = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """One provider, how often it refused the key of late (in whole hours), and when last. `variables` hold the key."""

    provider: Provider
    times: int
    last_at: datetime
    variables: Sequence[str]


def lately(now: datetime) -> list[RefusedKey]:
    """The providers, the latest refusal first. Two queries at most."""
    tried = attempts.by_adapter(now - WITHIN)
    refused = {pk: seen for pk, seen in tried.items() if seen.refused_at is not None and seen.refused_at >= now - WITHIN}
    if not refused:
        return []
    found: dict[int, RefusedKey] = {}
    for adapter in Adapter.objects.filter(pk__in=refused).select_related("provider"):
        seen, before = refused[adapter.pk], found.get(adapter.provider_id)
        assert seen.refused_at is not None
        found[adapter.provider_id] = RefusedKey(
            provider=adapter.provider,
            times=seen.faults[attempts.REFUSED] + (before.times if before else 0),
            last_at=max(seen.refused_at, before.last_at) if before else seen.refused_at,
            variables=_variables(adapter.provider),
        )
    return sorted(found.values(), key=lambda refusal: refusal.last_at, reverse=True)


def _variables(provider: Provider) -> list[str]:
    """`${NAME}` and `${NAME:-default}` as NAME; a default is left out, since somebody may have written a secret there."""
    references = [reference for reference in (provider.api_key, *provider.api_keys) if reference]
    return [reference.removeprefix("${").rstrip("}").partition(":-")[0] for reference in references]
