"""Wanted rows against present rows: adds, changes, and leaves alone what somebody has edited since the last load.

Works for the rows of any app; what a row means is not known here. Run it inside a transaction: it stops at the first row that
the database refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, models

from catalog.models import SeededRow
from catalog.seed import fields
from catalog.seed.problems import SeedRefused
from catalog.seed.report import Action, Change, Report
from catalog.seed.wanted import Origin


class Rows:
    """The present rows of one kind, read once. `save` may be extended for what is not a column."""

    def __init__(self, kind: str, row: type[models.Model]) -> None:
        self.kind = kind
        self._row = row
        self.present: dict[int, Any] = {found.pk: found for found in row._default_manager.all()}
        self._by_identity: dict[tuple[str, ...], dict[tuple[Any, ...], Any]] = {}

    def find(self, identity: Mapping[str, Any]) -> Any | None:
        """The row whose columns are `identity`."""
        names, wanted = tuple(identity), tuple(identity.values())
        if names not in self._by_identity:
            self._by_identity[names] = {_values(row, names): row for row in self.present.values()}
        row = self._by_identity[names].get(wanted)
        # A row that has been changed since is still listed under what it was.
        return row if row is not None and _values(row, names) == wanted else None

    def read(self, row: Any, name: str) -> Any:
        return fields.as_json(getattr(row, name))

    def default(self, name: str) -> Any:
        return fields.default(self._row, name)

    def new(self, identity: Mapping[str, Any]) -> Any:
        return self._row(**identity)

    def save(self, row: Any, values: Mapping[str, Any]) -> None:
        """Write JSON `values` into `row`'s columns."""
        for name, value in values.items():
            setattr(row, name, fields.column(self._row, name).to_python(value))
        row.save()
        self.present[row.pk] = row
        for names, rows in self._by_identity.items():
            rows[_values(row, names)] = row


def _values(row: Any, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in names)


class Merge:
    """One load. Remembers what it writes, and knows what the load before it wrote."""

    def __init__(self, report: Report, *, force: bool = False, prune: bool = False) -> None:
        self.report = report
        self.force = force
        self.prune = prune
        entries = list(SeededRow.objects.all())
        self._by_key = {(entry.kind, entry.key): entry for entry in entries}
        self._by_row = {(entry.kind, entry.row_id): entry for entry in entries}

    def key_of(self, kind: str, row: Any) -> str | None:
        """What the file calls `row`; None for a row that was made in admin."""
        entry = self._by_row.get((kind, row.pk))
        return entry.key if entry else None

    def last_written(self, kind: str, row: Any) -> Mapping[str, Any]:
        """What the last load wrote into `row`; empty for a row that was made in admin."""
        entry = self._by_row.get((kind, row.pk))
        return entry.values if entry else {}

    def amend(self, kind: str, row: Any, values: Mapping[str, Any]) -> None:
        """Remember `values` as what was last written into `row`, which an earlier load wrote."""
        entry = self._by_row[(kind, row.pk)]
        self._remember(kind, entry.key, row, {**entry.values, **values})

    def put(
        self, rows: Rows, key: str, identity: Mapping[str, Any], values: Mapping[str, Any], origin: Origin
    ) -> Any | None:
        """The row of `key`, made or changed to `values`; None for one that was deleted in admin.

        `identity`: the columns by which it is found where no load has written it before.
        """
        entry = self._by_key.get((rows.kind, key))
        row = rows.present.get(entry.row_id) if entry else None
        if row is None:
            row = rows.find(identity)
            if row is None and entry and not self.force:
                self._note(Action.KEPT, rows.kind, key, remark="deleted in admin; --force brings it back")
                return None
        try:
            if row is None:
                row = rows.new(identity)
                rows.save(row, values)
                self._remember(rows.kind, key, row, values)
                self._note(Action.ADDED, rows.kind, key)
            else:
                self._change(rows, key, row, values)
        except IntegrityError as error:
            message = f"{rows.kind} {key} collides with a row made in admin ({error}); rename or delete that one"
            raise SeedRefused([origin.problem(message)]) from error
        return row

    def _change(self, rows: Rows, key: str, row: Any, values: Mapping[str, Any]) -> None:
        entry = self._by_row.get((rows.kind, row.pk))
        written = dict(entry.values) if entry else {}
        changed: list[tuple[str, Any, Any]] = []
        kept: list[tuple[str, Any, Any]] = []
        for name, value in values.items():
            present = rows.read(row, name)
            if present == value:
                written[name] = value
            elif self.force or (entry and present == written.get(name, rows.default(name))):
                changed.append((name, present, value))
                written[name] = value
            else:
                kept.append((name, present, value))
                written.setdefault(name, value)
        if changed:
            rows.save(row, {name: value for name, _, value in changed})
            self._note(Action.CHANGED, rows.kind, key, changed)
        if kept:
            self._note(Action.KEPT, rows.kind, key, kept)
        self._remember(rows.kind, key, row, written)

    def retire(self, rows: Rows, wanted: Iterable[str]) -> None:
        """Disable (or, without `prune`, report) the enabled rows that an earlier load wrote and the file no longer has.

        Rows that nobody can disable are left as they are; of rows that have been deleted, nothing is remembered.
        """
        keep = set(wanted)
        for (kind, key), entry in sorted(self._by_key.items()):
            if kind != rows.kind or key in keep:
                continue
            row = rows.present.get(entry.row_id)
            if row is None:
                entry.delete()
            elif not getattr(row, "is_enabled", False):
                continue
            elif self.prune:
                rows.save(row, {"is_enabled": False})
                self._remember(kind, key, row, {**entry.values, "is_enabled": False})
                self._note(Action.DISABLED, kind, key)
            else:
                self._note(Action.GONE, kind, key)

    def _remember(self, kind: str, key: str, row: Any, values: Mapping[str, Any]) -> None:
        entry = self._by_row.get((kind, row.pk)) or self._by_key.get((kind, key)) or SeededRow(kind=kind)
        before = (entry.key, entry.row_id, entry.values)
        if entry.pk and entry.key != key:
            self._by_key.pop((kind, entry.key), None)
        entry.key, entry.row_id, entry.values = key, row.pk, dict(values)
        if entry.pk is None or before != (entry.key, entry.row_id, entry.values):
            stale = self._by_key.get((kind, key))
            if stale is not None and stale is not entry:
                stale.delete()
            entry.save()
        self._by_key[(kind, key)] = self._by_row[(kind, row.pk)] = entry

    def _note(
        self, action: Action, kind: str, key: str, changed: Iterable[tuple[str, Any, Any]] = (), remark: str = ""
    ) -> None:
        self.report.changes.append(Change(action, kind, key, tuple(changed), remark))
