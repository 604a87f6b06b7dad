"""What a rule is, and how a caller's name for a provider matches an adapter. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from catalog.entries import AdapterEntry, ModelEntry
from routingapp.ask import Situation

Check = Callable[[AdapterEntry], str | None]
Prepare = Callable[[Situation, ModelEntry, Sequence[AdapterEntry]], Check | None]


class Cause(enum.Enum):
    """Whose doing an exclusion is: it decides between 400, 403, 404 and 503 once nothing is left."""

    CONFIGURATION = "configuration"
    KEY = "key"
    REQUEST = "request"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule. `excluded_by` is OpenRouter's word for it (openrouter.md 4.3), `field` what the caller would change."""

    code: str
    cause: Cause
    prepare: Prepare
    excluded_by: str
    field: str | None = None


def matches(name: str, adapter: AdapterEntry) -> bool:
    """Whether a casefolded `name` names this adapter: its provider's slug or display name, or exactly its tag."""
    provider = adapter.provider
    return name == provider.slug.casefold() or name == adapter.tag.casefold() or name == provider.name.casefold()


def matches_any(names: Sequence[str], adapter: AdapterEntry) -> bool:
    return any(matches(name, adapter) for name in names)
