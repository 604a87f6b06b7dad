"""Which adapters to try for a request, in which order, and why each other one was left out.

Pure: the catalogue, the weights, the health, the time and the dice are arguments. Filters come first
(`routingapp.filters`), then the policy's strategy orders what is left (`routingapp.strategies`), unless the caller orders
or sorts. README.md of this package tells it to operators.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from catalog.entries import AdapterEntry, Catalogue, ModelEntry
from routingapp import refusals, variants
from routingapp.ask import Ask, Candidate, Exclusion, Situation
from routingapp.capacity import Capacity
from routingapp.entries import PolicyEntry, RoutingTable
from routingapp.filters import sift
from routingapp.filters.rule import matches
from routingapp.health import Health
from routingapp.preferences import SortBy
from routingapp.strategies import REGISTRY
from routingapp.tiers import tiers_of

__all__ = ["Ask", "Candidate", "Exclusion", "Plan", "build"]


class Plan(NamedTuple):
    """`strategy`: what ordered the first candidate, a strategy's name, `sort:…`, `order` or `sticky`."""

    candidates: tuple[Candidate, ...]
    exclusions: tuple[Exclusion, ...]
    strategy: str
    policy: PolicyEntry

    def describe(self) -> list[dict[str, Any]]:
        """Every adapter of the asked models as JSON, with its rank (from 1) or the reason why it has none."""
        ranked = [
            {
                "model": candidate.model.id,
                "provider": candidate.adapter.provider.name,
                "tag": candidate.adapter.tag,
                "adapter_id": candidate.adapter.id,
                "rank": rank,
                "share": round(candidate.share, 4),
                "reason": candidate.reason,
            }
            for rank, candidate in enumerate(self.candidates, start=1)
        ]
        left_out = [
            {
                "model": exclusion.model_id,
                "provider": exclusion.provider,
                "tag": exclusion.tag,
                "adapter_id": exclusion.adapter_id,
                "rank": None,
                "code": exclusion.code,
                "reason": exclusion.detail,
            }
            for exclusion in self.exclusions
        ]
        return ranked + left_out


@dataclass(slots=True)
class _Part:
    """Adapters that are ordered together: those of one model, or, with `partition: none`, those of all."""

    adapters: Sequence[AdapterEntry]
    sort: SortBy | None
    situation: Situation


def build(
    ask: Ask,
    catalogue: Catalogue,
    table: RoutingTable,
    health: Health,
    *,
    now: float,
    dice: random.Random,
    capacity: Capacity | None = None,
) -> Plan:
    """The plan for `ask` at the moment `now` (seconds of the clock that `health` is told).

    Raises `ModelNotFound` where no asked model is known, `PermissionDenied` where the key may use none of them,
    `NoEndpoints` where the request rules out every adapter or none is set up, `NoCandidates` where none can serve right now,
    `PromptTooLong` or `MaxTokensTooLarge` where nothing but its size is in the way, `RateLimited` where the
    limits of all have no room left, `ProviderRateLimited` where providers limit them, `InvalidRequest` where it is larger than
    any limit.
    """
    models, exclusions = _models(ask, catalogue)
    if not models:
        raise refusals.model_not_found(ask, catalogue)
    parts: list[_Part] = []
    for model, sort in models.values():
        situation = Situation(ask, table.policy_of(model.id), table, health, now, dice, capacity)
        left, excluded = sift(model, situation)
        exclusions += excluded
        if left:
            parts.append(_Part(left, sort or ask.preferences.sort, situation))
    if not parts:
        raise refusals.nothing_left(ask, [model for model, _ in models.values()], exclusions, health, now, capacity)
    if ask.preferences.sorts_across_models and len(parts) > 1:
        parts = [_Part([adapter for part in parts for adapter in part.adapters], parts[0].sort, parts[0].situation)]
    return _plan(parts, models, exclusions)


_Models = dict[str, tuple[ModelEntry, SortBy | None]]


def _models(ask: Ask, catalogue: Catalogue) -> tuple[_Models, list[Exclusion]]:
    """The asked models by id, each once, in the caller's order, with the sort in its name; unknown names are exclusions."""
    models: _Models = {}
    unknown: list[Exclusion] = []
    for name in ask.models:
        model, sort = variants.find(name, catalogue)
        if model is None:
            unknown.append(Exclusion(name[:200], "", "", refusals.UNKNOWN_MODEL, "no model of this name is known here"))
        elif model.id not in models:
            models[model.id] = (model, sort)
    return models, unknown


def _plan(parts: Sequence[_Part], models: _Models, exclusions: list[Exclusion]) -> Plan:
    candidates: list[Candidate] = []
    for part in parts:
        ordered = _order(part, models, is_first=not candidates)
        if not candidates:
            is_sticky = _move_sticky_to_front(ordered, part.situation.ask)
        if not part.situation.ask.preferences.allow_fallbacks:
            exclusions += [_no_fallback(candidate) for candidate in ordered[1:]]
            del ordered[1:]
        candidates += ordered
    strategy = "sticky" if is_sticky else _ordered_by(parts[0], candidates[0])
    return Plan(tuple(candidates), tuple(exclusions), strategy, candidates[0].policy)


def _order(part: _Part, models: _Models, *, is_first: bool) -> list[Candidate]:
    """Shares are those of the first tier of the first part; whatever stands behind it begins no request."""
    situation = part.situation
    rank = REGISTRY[part.sort or situation.policy.strategy].rank
    owners = {model_id: (model, situation.table.policy_of(model_id)) for model_id, (model, _) in models.items()}
    ordered: list[Candidate] = []
    for adapters, reason in tiers_of(part.adapters, situation):
        begins = is_first and not ordered
        ordered += [
            Candidate(adapter, *owners[adapter.model_id], share if begins else 0.0, reason or why)
            for adapter, share, why in rank(adapters, situation)
        ]
    return ordered


def _no_fallback(candidate: Candidate) -> Exclusion:
    adapter = candidate.adapter
    return Exclusion(
        candidate.model.id,
        adapter.provider.name,
        adapter.tag,
        "fallbacks_forbidden",
        "another adapter comes first, and provider.allow_fallbacks is false",
        adapter.id,
    )


def _move_sticky_to_front(ordered: list[Candidate], ask: Ask) -> bool:
    """Put the adapter that holds this conversation's cached prompt first, if it may serve. An explicit order wins."""
    if ask.sticky_adapter_id is None or ask.preferences.order:
        return False
    for place, candidate in enumerate(ordered):
        if candidate.adapter.id == ask.sticky_adapter_id:
            del ordered[place]
            first = candidate._replace(share=1.0, reason="sticky: this conversation's prompt is cached here")
            ordered[:] = [first, *(other._replace(share=0.0) for other in ordered)]
            return True
    return False


def _ordered_by(part: _Part, first: Candidate) -> str:
    order = part.situation.ask.preferences.order
    if order and any(matches(name, first.adapter) for name in order):
        return "order"
    return f"sort:{part.sort}" if part.sort else part.situation.policy.strategy
