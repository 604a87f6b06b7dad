"""Pages of a table that is too large to count: the admin list of request logs stays as fast at ten million rows as at ten.

A page reads its own rows and one more, which tells whether there is a next page. How many there are is never asked.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

MAX_PAGE = 300
"""Further back, the database would read and drop too many rows before the page: a filter by time leads there."""


class UncountedPaginator(Paginator):
    """Knows the pages up to `wanted` and, if rows follow, the one after it."""

    def __init__(self, rows: QuerySet[Any], per_page: int, *, wanted: int) -> None:
        super().__init__(rows, per_page)
        self.wanted = min(max(wanted, 1), MAX_PAGE)

    @cached_property
    def _start(self) -> int:
        return (self.wanted - 1) * self.per_page

    @cached_property
    def _rows(self) -> list[Any]:
        return list(self.object_list[self._start : self._start + self.per_page + 1])

    @cached_property
    def count(self) -> int:
        """How many rows are known of, not how many there are."""
        return self._start + len(self._rows) - self.is_cut_off

    @cached_property
    def is_cut_off(self) -> bool:
        """Whether there are rows behind the last page that can be had."""
        return self.wanted == MAX_PAGE and len(self._rows) > self.per_page

    def page(self, number: int | str) -> Any:
        number = self.validate_number(number)
        if number != self.wanted:
            return super().page(number)
        return Page(self._rows[: self.per_page], number, self)


class UncountedChangeList(ChangeList):
    """A list that shows no totals, as it knows none."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count
        if not self.multi_page:
            # What the paginator has read already: admin would ask once more, without a limit.
            self.result_list = self.paginator.page(1).object_list


def wanted_page(request: HttpRequest) -> int:
    """The page that the address asks for, 1 where it asks for none."""
    try:
        return int(request.GET.get(PAGE_VAR, 1))
    except ValueError:
        return 1
