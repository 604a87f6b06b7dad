"""Loads `models.yaml` and `routing.yaml` into the database: the catalogue's rows, then weights and the default policy.

One transaction, so that a fault anywhere changes nothing; a dry run does it all and takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.db import transaction

from catalog.models import Adapter
from catalog.seed import catalogue, fields, models_file
from catalog.seed.document import Document
from catalog.seed.merge import Merge, Rows
from catalog.seed.problems import SeedRefused
from catalog.seed.report import Action, Report
from catalog.seed.wanted import Seed
from routingapp import routing_file
from routingapp.models import RoutingPolicy, RoutingWeight
from routingapp.routing_file import Routing

DEFAULT_WEIGHT = fields.default(RoutingWeight, "weight")
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
    if routing_path is None and settings.ROUTING_CONFIG.exists():
        routing_path = settings.ROUTING_CONFIG
    return load_documents(
        Document.at(models_path or settings.MODELS_CONFIG),
        Document.at(routing_path) if routing_path else None,
        dry_run=dry_run,
        prune=prune,
        force=force,
    )


def load_documents(
    models: Document, routing_rules: Document | None, *, dry_run: bool = False, prune: bool = False, force: bool = False
) -> Report:
    """Load just these, wherever they come from; else as `load`."""
    seed = models_file.parse(models)
    routing = routing_file.parse(routing_rules, seed) if routing_rules else None
    problems = [*seed.problems, *(routing.problems if routing else ())]
    if problems:
        raise SeedRefused(problems)
    with transaction.atomic():
        shown = f"{models.name} and {routing_rules.name}" if routing_rules else models.name
        report = Report(shown, is_dry_run=dry_run)
        merge = Merge(report, force=force, prune=prune)
        adapters = catalogue.write(seed, merge)
        _write_weights(seed, routing.weights if routing else {}, adapters, merge)
        if routing:
            _write_policy(routing, merge)
        if dry_run:
            transaction.set_rollback(True)
    return report


def _write_weights(seed: Seed, overrides: Mapping[str, float], adapters: dict[str, Adapter], merge: Merge) -> None:
    rows = Rows("weight", RoutingWeight)
    new = {change.key for change in merge.report.changes if change.kind == "adapter" and change.action is Action.ADDED}
    for wanted in seed.adapters:
        adapter = adapters.get(wanted.key)
        if adapter is not None:
            weight = float(overrides.get(wanted.key, wanted.weight))
            is_met = weight == DEFAULT_WEIGHT and rows.find({"adapter_id": adapter.pk}) is None
            if is_met and wanted.key not in new:
                # An adapter without a row has just that weight.
                continue
            merge.put(rows, wanted.key, {"adapter_id": adapter.pk}, {"weight": weight}, wanted.origin)
    merge.retire(rows, [wanted.key for wanted in seed.adapters])


def _write_policy(routing: Routing, merge: Merge) -> None:
    merge.put(Rows("policy", RoutingPolicy), DEFAULT_POLICY, {"model_id": None}, routing.policy, routing.origin)
