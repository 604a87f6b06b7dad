"""What routing was told to do beside what came of it, adapter by adapter: for `manage.py routingstats`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from accounting import attempts_lately, statistics
from accounting.reports import figures
from accounting.statistics import Figures, GroupBy, Scope
from completions import snapshot
from gateway_project.errors import ModelNotFound
from routingapp import overview
from routingapp.health import Health


def report(hours: int, now: datetime, model: str | None = None) -> dict[str, Any]:
    """The last `hours` UTC hours, this one included. Raises `ModelNotFound` for a model that nobody knows.

    Requests, tokens, money and times are those of the requests that ended at an adapter, from hourly sums; attempts, its
    faults among them, are those of the latest requests alone.
    """
    loaded = snapshot.load()
    found = loaded.catalogue.find(model) if model else None
    if model and found is None:
        raise ModelNotFound(f"There is no model {model}; GET /v1/models lists them.")
    scope = Scope.last(hours, now, model=found.id if found else None)
    used = {group.labels["adapter"]: group.figures for group in statistics.summary(scope, GroupBy.ADAPTER).groups}
    tried, looked_at = attempts_lately.by_adapter(scope.start, model=found.id if found else None)
    rows = []
    for entry in (found,) if found else loaded.catalogue.models:
        standing = overview.standing(entry, loaded.catalogue, loaded.routing, Health(), now=time.monotonic())
        total = sum(used[adapter.id].sums.requests for adapter in entry.adapters if adapter.id in used)
        for adapter in entry.adapters:
            of = figures(used.get(adapter.id, Figures()))
            lately = tried.get(adapter.id, attempts_lately.Tried())
            rows.append(
                {
                    "model": entry.id,
                    "provider": adapter.provider.slug,
                    "adapter_id": adapter.id,
                    "weight": loaded.routing.weight_of(adapter.id),
                    "configured_share": standing.get(adapter.id, {}).get("share", 0.0),
                    "actual_share": round(of["requests"] / total, 4) if total else None,
                    "left_out": standing.get(adapter.id, {}).get("left_out"),
                    "attempts": lately.attempts,
                    "attempts_failed": dict(lately.faults),
                    **of,
                }
            )
    return {"hours": hours, "since": scope.start.isoformat(), "attempts_of_latest_requests": looked_at, "adapters": rows}


_HEADS = ("model", "provider", "weight", "set", "actual", "requests", "success", "fallbacks", "attempts", "failed",
          "first token ms", "latency ms", "tokens", "USD")  # fmt: skip


def table(of: Mapping[str, Any]) -> Iterator[str]:
    """The report as lines; times are p50/p95/p99."""
    rows = [_HEADS, *(_cells(row) for row in of["adapters"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        yield "  ".join(left + right).rstrip()


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["model"],
        row["provider"],
        f"{row['weight']:g}",
        row["left_out"] or f"{row['configured_share']:.1%}",
        _share(row["actual_share"]),
        str(row["requests"]),
        _share(row["success_rate"]),
        str(row["fallbacks"]),
        str(row["attempts"]),
        str(sum(row["attempts_failed"].values())),
        _times(row["ttft_ms"]),
        _times(row["latency_ms"]),
        str(row["tokens"]["total"]),
        f"{row['cost_usd']:.6f}",
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _times(of: Mapping[str, float | None]) -> str:
    return "/".join("-" if value is None else f"{value:.0f}" for value in of.values())
