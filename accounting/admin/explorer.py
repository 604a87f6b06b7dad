"""How far back the list of requests looks. What no index answers is looked for among the latest requests only.

Without that, a filter that nothing fits would read the whole table. The page says how far it has looked, and goes on from there
when asked to.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest

from accounting.admin.paging import UncountedChangeList
from accounting.admin.request_filters import Field, Indexed, Since

LOOKED_THROUGH = 50_000
"""So many requests are looked through for one page where they are the latest of all, and so lie beside each other."""
LOOKED_UP = 10_000
"""And so many where an index names them: those of one key lie among the others', most in a block of their own to be read."""
_ALL_OF_THEM = datetime.min.replace(tzinfo=UTC)


class Explorer(UncountedChangeList):
    """The list, no further back than `looked_back_to`; None where an index answers everything that is asked."""

    looked_back_to: datetime | None = None
    _led: QuerySet[Any] | None = None

    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        if not self.query:
            self._bound(request, [field for field in found[0] if isinstance(field, Field) and field.value()])
        return found

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        if self._led is not None and connections[rows.db].vendor == "sqlite":
            # It reads by time whatever is shown by time, unless the rows to look through are named.
            rows = rows.filter(pk__in=self._since(self._led).order_by().values("pk"))
        return self._since(rows)

    def _since(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(timestamp__gte=self.looked_back_to) if self.looked_back_to else rows

    def _bound(self, request: HttpRequest, asked: list[Field]) -> None:
        """Find out how far back to look, and for which of the fields that have an index it is used: one alone can be."""
        times = [field for field in asked if isinstance(field, Since)]
        indexed = [field for field in asked if isinstance(field, Indexed)]
        if len(indexed) <= 1 and len(times) + len(indexed) == len(asked):
            return
        latest = _narrowed(request, self.root_queryset.order_by("-timestamp"), times)
        if not indexed:
            self.looked_back_to = _time_of(latest, LOOKED_THROUGH)
            return
        reached = {field: _time_of(_narrowed(request, latest, [field]), LOOKED_UP) for field in indexed}
        leading = min(indexed, key=lambda field: reached[field] or _ALL_OF_THEM)
        self.looked_back_to = reached[leading]
        self._led = _narrowed(request, latest, [leading])
        for field in indexed:
            field.is_looked_for = field is not leading

    @property
    def further_back(self) -> str:
        """The address of the same list before `looked_back_to`."""
        return self.get_query_string({"until": f"{self.looked_back_to:%Y-%m-%dT%H:%M:%S.%f}"}, remove=["p"])


def _narrowed(request: HttpRequest, rows: QuerySet[Any], fields: Iterable[Field]) -> QuerySet[Any]:
    for field in fields:
        rows = field.queryset(request, rows)
    return rows


def _time_of(latest: QuerySet[Any], place: int) -> datetime | None:
    """When the row at `place` arrived; None if there are fewer."""
    found: datetime | None = latest.values_list("timestamp", flat=True)[place : place + 1].first()
    return found
