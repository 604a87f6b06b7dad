"""Loads `models.yaml` and `routing.yaml` into the database: the catalogue's rows, then weights and the default policy.

One transaction, so that a fault anywhere changes nothing; a dry run does it all and takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.db import transaction

from catalog.models import Adapter
from catalog.seed import catalogue, models_file
from catalog.seed.merge import Merge, Rows
from catalog.seed.problems import SeedRefused
from catalog.seed.report import Report
from catalog.seed.wanted import Seed
from routingapp import routing_file
from routingapp.models import RoutingPolicy, RoutingWeight
from routingapp.routing_file import Routing

DEFAULT_POLICY = "of all models"
"""What reports call the policy without a model."""


def load(
    models_path: Path | None = None,
    routing_path: Path | None = None,
    *,
    dry_run: bool = False,
    prune: bool = False,
    force: bool = False,
) -> Report:
    """Load both files. Without paths: those of the settings, `routing.yaml` only where it exists.

    `prune` disables what an earlier load wrote and the file no longer has; `force` overwrites edits made in admin; after a
    `dry_run` nothing has changed. Raises `SeedRefused` with every problem of both files; then, too, nothing has changed.
    """
    models_path = models_path or settings.MODELS_CONFIG
    if routing_path is None and settings.ROUTING_CONFIG.exists():
        routing_path = settings.ROUTING_CONFIG
    seed = models_file.parse(models_path)
    routing = routing_file.parse(routing_path, seed) if routing_path else None
    problems = [*seed.problems, *(routing.problems if routing else ())]
    if problems:
        raise SeedRefused(problems)
    with transaction.atomic():
        report = Report(_shown(models_path, routing_path), is_dry_run=dry_run)
        merge = Merge(report, force=force, prune=prune)
        adapters = catalogue.write(seed, merge)
        _write_weights(seed, routing.weights if routing else {}, adapters, merge)
        if routing:
            _write_policy(routing, merge)
        if dry_run:
            transaction.set_rollback(True)
    return report


def _shown(models_path: Path, routing_path: Path | None) -> str:
    return f"{models_path} and {routing_path}" if routing_path else str(models_path)


def _write_weights(seed: Seed, overrides: Mapping[str, float], adapters: dict[str, Adapter], merge: Merge) -> None:
    rows = Rows("weight", RoutingWeight)
    for wanted in seed.adapters:
        adapter = adapters.get(wanted.key)
        if adapter is not None:
            weight = float(overrides.get(wanted.key, wanted.weight))
            merge.put(rows, wanted.key, {"adapter_id": adapter.pk}, {"weight": weight}, wanted.origin)
    merge.retire(rows, [wanted.key for wanted in seed.adapters])


def _write_policy(routing: Routing, merge: Merge) -> None:
    merge.put(Rows("policy", RoutingPolicy), DEFAULT_POLICY, {"model_id": None}, routing.policy, routing.origin)
