"""The catalogue's own rows: providers, models with their aliases, adapters, their dated prices, written in this order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from catalog.models import Adapter, AdapterPrice, LanguageModel, ModelAlias, Provider
from catalog.seed.merge import Merge, Rows
from catalog.seed.problems import Problem, SeedRefused
from catalog.seed.report import Action
from catalog.seed.wanted import Seed, WantedModel


class ModelRows(Rows):
    """Models, whose aliases are rows of their own and are treated as one more column, a sorted list."""

    def __init__(self) -> None:
        super().__init__("model", LanguageModel)
        self._aliases: dict[int, list[str]] = defaultdict(list)
        for alias in ModelAlias.objects.order_by("alias"):
            self._aliases[alias.model_id].append(alias.alias)

    def read(self, row: Any, name: str) -> Any:
        return sorted(self._aliases[row.pk]) if name == "aliases" else super().read(row, name)

    def default(self, name: str) -> Any:
        return [] if name == "aliases" else super().default(name)

    def save(self, row: Any, values: Mapping[str, Any]) -> None:
        super().save(row, {name: value for name, value in values.items() if name != "aliases"})
        if "aliases" in values:
            self._set_aliases(row, values["aliases"])

    def _set_aliases(self, row: Any, aliases: list[str]) -> None:
        ModelAlias.objects.filter(model=row).exclude(alias__in=aliases).delete()
        for alias in aliases:
            if alias not in self._aliases[row.pk]:
                ModelAlias.objects.create(model=row, alias=alias)
        self._aliases[row.pk] = list(aliases)

    def release(self, merge: Merge, wanted: Mapping[str, WantedModel]) -> None:
        """Take aliases that the file once gave to a model and now gives to another away from the first.

        `wanted`: the model that the file means, by each of its names.
        """
        for row in list(self.present.values()):
            written = merge.last_written(self.kind, row).get("aliases", [])
            key = merge.key_of(self.kind, row)
            moved = {name for name in written if name in wanted and wanted[name].id != key}
            if moved & set(self._aliases[row.pk]):
                self._set_aliases(row, [name for name in self._aliases[row.pk] if name not in moved])
                merge.amend(self.kind, row, {"aliases": [name for name in written if name not in moved]})

    def collisions(self, merge: Merge, wanted: Mapping[str, WantedModel]) -> list[Problem]:
        """Names that the file gives to one model while the database has them for another one, which stays."""
        found = []
        ids = {model.id for model in wanted.values()}
        for row in self.present.values():
            key = merge.key_of(self.kind, row)
            leaves = not row.is_enabled or (merge.prune and key is not None and key not in ids)
            taken = list(self._aliases[row.pk]) + ([] if leaves else [row.public_id])
            for name in taken:
                model = wanted.get(name)
                if model is not None and model.id not in (key, row.public_id):
                    cure = "rename one of them, load with --prune, or correct the other in admin"
                    found.append(
                        model.origin.problem(f"{name} already names model {row.public_id} in the database; {cure}")
                    )
        return found


class AdapterRows(Rows):
    """Adapters, whose price is a row of its own: another price in the file is one more row, in force from now on."""

    def __init__(self) -> None:
        super().__init__("adapter", Adapter)
        self.repriced: set[int] = set()
        """Ids of those that got another price."""
        self._pricing = {
            price.adapter_id: price.pricing for price in AdapterPrice.objects.in_force().order_by("effective_from")
        }

    def read(self, row: Any, name: str) -> Any:
        return self._pricing.get(row.pk) if name == "pricing" else super().read(row, name)

    def default(self, name: str) -> Any:
        return None if name == "pricing" else super().default(name)

    def save(self, row: Any, values: Mapping[str, Any]) -> None:
        super().save(row, {name: value for name, value in values.items() if name != "pricing"})
        if "pricing" in values and values["pricing"] != self._pricing.get(row.pk):
            AdapterPrice.objects.create(adapter=row, pricing=values["pricing"], note="From the models file.")
            self._pricing[row.pk] = values["pricing"]
            self.repriced.add(row.pk)


def write(seed: Seed, merge: Merge) -> dict[str, Adapter]:
    """Write the seed's rows. Returns the adapters by their key. Raises `SeedRefused` on names that are taken in admin."""
    providers = Rows("provider", Provider)
    by_slug = {
        wanted.slug: merge.put(providers, wanted.slug, {"slug": wanted.slug}, wanted.values, wanted.origin)
        for wanted in seed.providers
    }
    models = ModelRows()
    by_id = _write_models(seed, models, merge)
    adapters = AdapterRows()
    written: dict[str, Adapter] = {}
    for wanted in seed.adapters:
        model, provider = by_id[wanted.model.id], by_slug[wanted.provider.slug]
        if model is None or provider is None:
            continue
        identity = {
            "model_id": model.pk,
            "provider_id": provider.pk,
            "upstream_model": wanted.values["upstream_model"],
            "quantization": wanted.values["quantization"],
        }
        row = merge.put(adapters, wanted.key, identity, wanted.values, wanted.origin)
        if row is not None:
            written[wanted.key] = row
    dated = _write_prices(seed, written, merge)
    merge.retire(adapters, [wanted.key for wanted in seed.adapters])
    merge.retire(models, by_id)
    merge.retire(providers, by_slug)
    report = merge.report
    report.models, report.providers, report.adapters = len(seed.models), len(seed.providers), len(seed.adapters)
    report.repriced = sorted(key for key, row in written.items() if row.pk in adapters.repriced or key in dated)
    return written


def _write_prices(seed: Seed, adapters: Mapping[str, Adapter], merge: Merge) -> set[str]:
    """Write the dated prices; gives the keys of the adapters for which that changed something.

    Raises `SeedRefused` where the file says something else of a price that has been in force.
    """
    rows = Rows("price", AdapterPrice)
    before, touched = len(merge.report.changes), {}
    problems: list[Problem] = []
    for wanted in seed.adapters:
        adapter = adapters.get(wanted.key)
        if adapter is None:
            continue
        for price in wanted.prices:
            identity = {"adapter_id": adapter.pk, "effective_from": price.effective_from}
            row = rows.find(identity)
            if row is not None and row.is_in_force and row.pricing != price.values["pricing"]:
                problems.append(price.origin.problem("has been in force and stays as it is; give a later moment"))
                continue
            key = f"{wanted.key} from {price.effective_from.isoformat()}"
            merge.put(rows, key, identity, price.values, price.origin)
            touched[key] = wanted.key
    if problems:
        raise SeedRefused(problems)
    merge.retire(rows, touched)
    written = (Action.ADDED, Action.CHANGED)
    return {touched[change.key] for change in merge.report.changes[before:] if change.action in written}


def _write_models(seed: Seed, models: ModelRows, merge: Merge) -> dict[str, Any]:
    names = {name: wanted for wanted in seed.models for name in wanted.names}
    models.release(merge, names)
    problems = models.collisions(merge, names)
    if problems:
        raise SeedRefused(problems)
    return {
        wanted.id: merge.put(models, wanted.id, {"public_id": wanted.id}, wanted.values, wanted.origin)
        for wanted in seed.models
    }
