"""How far back the list of requests looks. Fields that no index answers are looked for among the latest requests only.

Without that, a filter that nothing fits would read the whole table. The page says how far it has looked, and goes on from there
when asked to.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from accounting.admin.paging import UncountedChangeList
from accounting.admin.request_filters import Failed, Field, Since, Until, UsedKey, UsedModel

LOOKED_THROUGH = 50_000
"""So many requests are looked through for one page."""


class Explorer(UncountedChangeList):
    """The list, no further back than `looked_back_to`; None where an index answers everything that is asked."""

    looked_back_to: datetime | None = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        asked = [field for field in self.filter_specs if isinstance(field, Field) and field.value()]
        # One index is used at a time; the fields of the others are looked for among what it gives.
        leading = next((field for kind in (UsedKey, UsedModel, Failed) for field in asked if type(field) is kind), None)
        indexed = [field for field in asked if isinstance(field, Since | Until) or field is leading]
        if self.query or len(indexed) == len(asked):
            return rows
        reached = self.root_queryset.order_by("-timestamp")
        for field in indexed:
            reached = field.queryset(request, reached)
        self.looked_back_to = reached.values_list("timestamp", flat=True)[LOOKED_THROUGH : LOOKED_THROUGH + 1].first()
        return rows.filter(timestamp__gte=self.looked_back_to) if self.looked_back_to else rows

    @property
    def further_back(self) -> str:
        """The address of the same list before `looked_back_to`."""
        return self.get_query_string({"until": f"{self.looked_back_to:%Y-%m-%dT%H:%M:%S.%f}"}, remove=["p"])
