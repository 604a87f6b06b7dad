"""Routing rows as the request path sees them: frozen, and free of Django."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

DEFAULT_STRATEGY = "weighted"


class OffloadMode(enum.StrEnum):
    ENVIRONMENT = "env"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """The rules by which one model is routed. Times in seconds; `is_offloaded` has the environment worked in.

    `strategy` is a name in `routingapp.strategies`. The `local_max_…` say when a local engine is saturated.
    """

    strategy: str = DEFAULT_STRATEGY
    is_offloaded: bool = False
    local_fraction: float | None = None
    local_max_in_flight: int = 32
    local_max_waiting: int = 4
    local_max_ttft_s: float = 5
    max_attempts: int = 3
    deadline_s: float = 600
    longest_wait_s: float = 30
    health_check_interval_s: float = 10
    health_check_timeout_s: float = 3
    resumes: bool = True
    hedges: bool = False


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Weights by adapter id, policies by public model id, and the default policy."""

    weights: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    policies: Mapping[str, PolicyEntry] = field(default_factory=lambda: MappingProxyType({}))
    default_policy: PolicyEntry = PolicyEntry()

    def policy_of(self, model_id: str) -> PolicyEntry:
        return self.policies.get(model_id, self.default_policy)

    def weight_of(self, adapter_id: int) -> float:
        """An adapter without a weight row counts 1."""
        return self.weights.get(adapter_id, 1.0)
