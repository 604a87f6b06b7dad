"""Reads weights and policies and makes them the frozen table that routing uses. Two queries, whatever their number."""

from __future__ import annotations

from types import MappingProxyType

from routingapp.entries import OffloadMode, PolicyEntry, RoutingTable
from routingapp.models import RoutingPolicy, RoutingWeight


def load(offload: bool) -> RoutingTable:
    """The routing table with hard offload worked in. `offload` is what the OFFLOAD variable says.

    A policy that does not decide on offload follows the default policy, and that one the variable: so the switch on the
    default policy reaches every model that has no switch of its own.
    """
    rows = list(RoutingPolicy.objects.select_related("model"))
    default = next((row for row in rows if row.model is None), RoutingPolicy())
    offload = _offloaded(default, offload)
    return RoutingTable(
        weights=MappingProxyType(dict(RoutingWeight.objects.values_list("adapter_id", "weight"))),
        policies=MappingProxyType({row.model.public_id: _entry(row, offload) for row in rows if row.model}),
        default_policy=_entry(default, offload),
    )


def _offloaded(row: RoutingPolicy, otherwise: bool) -> bool:
    return otherwise if row.offload == OffloadMode.ENVIRONMENT else row.offload == OffloadMode.ON


def _entry(row: RoutingPolicy, offload: bool) -> PolicyEntry:
    return PolicyEntry(
        strategy=row.strategy,
        is_offloaded=_offloaded(row, offload),
        local_fraction=row.local_fraction,
        local_max_in_flight=row.local_max_in_flight,
        local_max_waiting=row.local_max_waiting,
        local_max_ttft_s=row.local_max_ttft_s,
        max_attempts=row.max_attempts,
        deadline_s=row.deadline_s,
        longest_wait_s=row.longest_wait_s,
        health_check_interval_s=row.health_check_interval_s,
        health_check_timeout_s=row.health_check_timeout_s,
        resumes=row.resumes,
        hedges=row.hedges,
    )
