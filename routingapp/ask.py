"""What a request needs, as routing sees it, and what became of each adapter. Pure values."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from catalog.entries import AdapterEntry, ModelEntry
from routingapp.entries import PolicyEntry, RoutingTable
from routingapp.health import Health
from routingapp.preferences import NO_PREFERENCES, Preferences

if TYPE_CHECKING:
    from routingapp.capacity import Capacity

_TEXT = frozenset({"text"})


class Ask(NamedTuple):
    """What one request needs.

    `models`: names as the caller sent them, `model` first, then `models`. `prompt_tokens` is an estimate. `parameters`:
    names as in OpenRouter's `supported_parameters`. `allowed_models` and `allowed_providers` are the key's; empty: all.
    `sticky_adapter_id`: where this conversation's prompt is cached (`routingapp.stickiness`).
    """

    models: tuple[str, ...]
    preferences: Preferences = NO_PREFERENCES
    prompt_tokens: int = 0
    max_output_tokens: int | None = None
    input_modalities: frozenset[str] = _TEXT
    output_modalities: frozenset[str] = _TEXT
    parameters: frozenset[str] = frozenset()
    allowed_models: frozenset[str] = frozenset()
    allowed_providers: frozenset[str] = frozenset()
    session: str | None = None
    sticky_adapter_id: int | None = None


class Candidate(NamedTuple):
    """An adapter to try. `share`: the part of such requests that begins here, 0 to 1. `reason`: why it is here."""

    adapter: AdapterEntry
    model: ModelEntry
    policy: PolicyEntry
    share: float
    reason: str


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An adapter that may not serve this request. `code` names the filter, `detail` says it in a sentence.

    A model name that nobody knows is an exclusion too, without provider, tag and adapter.
    """

    model_id: str
    provider: str
    tag: str
    code: str
    detail: str
    adapter_id: int | None = None


class Situation(NamedTuple):
    """One request, one model's policy and one moment: what filters and strategies may look at."""

    ask: Ask
    policy: PolicyEntry
    table: RoutingTable
    health: Health
    now: float
    dice: random.Random
    capacity: Capacity | None = None
