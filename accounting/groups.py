"""What is summed apart: hours, models, adapters, keys; and which of those that a batch names exist now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

from accounting import statements
from accounting.models import ApiKey
from catalog.models import Adapter, LanguageModel

HOUR_S = 3600


class Group(NamedTuple):
    """What is summed apart: an hour (epoch seconds, UTC), a model's public id, an adapter and a key (0: none)."""

    hour: int
    model_id: str
    adapter_id: int
    api_key_id: int

    @classmethod
    def of(cls, timestamp: float, model_id: str, adapter_id: int | None, api_key_id: int | None) -> Group:
        """The group of a request that arrived then (epoch seconds)."""
        return cls(int(timestamp // HOUR_S) * HOUR_S, model_id, adapter_id or 0, api_key_id or 0)


@dataclass(frozen=True, slots=True)
class Named:
    """Which of the models, adapters and keys that a batch names exist now; one may have been deleted meanwhile."""

    model_of_adapter: Mapping[int, int]
    models: Mapping[str, int]
    api_keys: frozenset[int]

    @classmethod
    def of(cls, groups: Iterable[Group], cursor: CursorWrapper) -> Named:
        groups = tuple(groups)
        return cls(
            dict(_find(cursor, Adapter, ("id", "model_id"), {group.adapter_id for group in groups} - {0})),
            dict(_find(cursor, LanguageModel, ("public_id", "id"), {group.model_id for group in groups} - {""})),
            frozenset(pk for (pk,) in _find(cursor, ApiKey, ("id",), {group.api_key_id for group in groups} - {0})),
        )

    def existing(self, group: Group) -> Group:
        """`group` with 0 or "" for what does not exist.

        Names that callers made up are summed together: otherwise anybody could make the statistics grow without bounds.
        """
        adapter_id = group.adapter_id if group.adapter_id in self.model_of_adapter else 0
        is_known = group.adapter_id or group.model_id in self.models
        api_key_id = group.api_key_id if group.api_key_id in self.api_keys else 0
        return Group(group.hour, group.model_id if is_known else "", adapter_id, api_key_id)

    def total(self, group: Group) -> tuple[int, int, int]:
        """Ids of the model, adapter and key whose lifetime total an existing group belongs to; 0 for none."""
        model_id = self.model_of_adapter.get(group.adapter_id) or self.models.get(group.model_id, 0)
        return model_id, group.adapter_id, group.api_key_id


def _find(cursor: CursorWrapper, row: Any, columns: tuple[str, ...], keys: set[Any]) -> list[tuple[Any, ...]]:
    """`columns` of the rows whose first column is one of `keys`."""
    if not keys:
        return []
    listed = statements.padded(keys)
    marks = ", ".join(["%s"] * len(listed))
    table = row._meta.db_table
    cursor.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {columns[0]} IN ({marks})", listed)  # noqa: S608
    return list(cursor.fetchall())
