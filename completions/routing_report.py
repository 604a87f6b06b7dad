"""What routing was told to do beside what came of it, model by model and adapter by adapter: for `manage.py routingstats`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounting import attempts, statistics
from accounting.attempts import Tried
from accounting.reports import figures
from accounting.statistics import Figures, GroupBy, Scope
from catalog.entries import ModelEntry
from completions import snapshot
from completions.snapshot import Snapshot
from gateway_project.errors import ModelNotFound
from routingapp import overview
from routingapp.health import Health


def report(hours: int, now: datetime, model: str | None = None) -> dict[str, Any]:
    """The last `hours` UTC hours, this one included. Raises `ModelNotFound` for a model that nobody knows.

    Requests, tokens, money and times are those of the requests that ended at an adapter; `attempts` are all that were made
    there. Both are hourly sums, so nothing in the window is left out, except attempts before `attempts_since`, whose sums are
    deleted with the request logs.
    """
    loaded = snapshot.load()
    found = loaded.catalogue.find(model) if model else None
    if model and found is None:
        raise ModelNotFound(f"There is no model {model}; GET /v1/models lists them.")
    scope = Scope.last(hours, now, model=found.id if found else None)
    used = _Used.within(scope)
    shown = [_model(entry, loaded, used) for entry in ((found,) if found else loaded.catalogue.models)]
    first = attempts.counted_since()
    return {
        "hours": hours,
        "since": scope.start.isoformat(),
        "attempts_since": max(scope.start, first).isoformat() if first else None,
        "models": [of_model for of_model, _ in shown],
        "adapters": [row for _, rows in shown for row in rows],
    }


@dataclass(frozen=True, slots=True)
class _Used:
    """What came of requests, by adapter id and by model id, and of attempts, by adapter id."""

    adapters: Mapping[int, Figures]
    models: Mapping[str, Figures]
    tried: Mapping[int, Tried]

    @classmethod
    def within(cls, scope: Scope) -> _Used:
        by_adapter = statistics.summary(scope, GroupBy.ADAPTER).groups
        by_model = statistics.summary(scope, GroupBy.MODEL).groups
        return cls(
            {group.labels["adapter"]: group.figures for group in by_adapter},
            {group.labels["model"]: group.figures for group in by_model},
            attempts.by_adapter(scope.start, scope.end),
        )


def _model(entry: ModelEntry, loaded: Snapshot, used: _Used) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The sums of a model, and a row for each of its adapters."""
    standing = overview.standing(entry, loaded.catalogue, loaded.routing, Health(), now=time.monotonic())
    total = sum(used.adapters[adapter.id].sums.requests for adapter in entry.adapters if adapter.id in used.adapters)
    together, rows = Tried(), []
    for adapter in entry.adapters:
        of, tried = figures(used.adapters.get(adapter.id, Figures())), used.tried.get(adapter.id, Tried())
        together.add(tried)
        rows.append(
            {
                "model": entry.id,
                "provider": adapter.provider.slug,
                "adapter_id": adapter.id,
                "weight": loaded.routing.weight_of(adapter.id),
                "configured_share": standing.get(adapter.id, {}).get("share", 0.0),
                "actual_share": round(of["requests"] / total, 4) if total else None,
                "left_out": standing.get(adapter.id, {}).get("left_out"),
                "attempts": _attempts(tried),
                **of,
            }
        )
    sums = figures(used.models.get(entry.id, Figures()))
    return {"model": entry.id, "attempts": _attempts(together), **sums}, rows


def _attempts(tried: Tried) -> dict[str, Any]:
    rate = tried.success_rate
    return {
        "made": tried.attempts,
        "answered": tried.answered,
        "failed": dict(tried.faults.most_common()),
        "given_up": tried.given_up,
        "success_rate": None if rate is None else round(rate, 6),
        "retries": tried.retries,
        "fallbacks": tried.fallbacks,
    }


_HEADS = ("model", "provider", "weight", "set", "actual", "requests", "success", "fell back", "attempts", "answered", "failed",
          "retries", "stood in", "first token ms", "latency ms", "tokens", "USD")  # fmt: skip


def table(of: Mapping[str, Any]) -> Iterator[str]:
    """The report as lines, a model's sums below its adapters where it has several; times are p50/p95/p99."""
    rows: list[tuple[str, ...]] = [_HEADS]
    for of_model in of["models"]:
        own = [row for row in of["adapters"] if row["model"] == of_model["model"]]
        rows += [_cells(row) for row in own]
        if len(own) > 1:
            rows.append((of_model["model"], "all", "", "", "", *_sums(of_model)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        yield "  ".join(left + right).rstrip()


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    share = row["left_out"] or f"{row['configured_share']:.1%}"
    return (row["model"], row["provider"], f"{row['weight']:g}", share, _share(row["actual_share"]), *_sums(row))


def _sums(row: Mapping[str, Any]) -> tuple[str, ...]:
    tried = row["attempts"]
    return (
        str(row["requests"]),
        _share(row["success_rate"]),
        str(row["fallbacks"]),
        str(tried["made"]),
        _share(tried["success_rate"]),
        str(sum(tried["failed"].values())),
        str(tried["retries"]),
        str(tried["fallbacks"]),
        _times(row["ttft_ms"]),
        _times(row["latency_ms"]),
        str(row["tokens"]["total"]),
        f"{row['cost_usd']:.6f}",
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _times(of: Mapping[str, float | None]) -> str:
    return "/".join("-" if value is None else f"{value:.0f}" for value in of.values())
