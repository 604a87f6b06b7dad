"""The figures by which a server is judged: each worker counts its own, and the judgement is of all together.

One worker's alone would say too little: of several each sees its share of the requests, and a minimum would be one of each.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from operator import attrgetter

import msgspec

from accounting.ledger import LedgerStatus
from completions import metrics

WINDOW_S = 300.0


class Figures(msgspec.Struct, frozen=True):
    """What one worker, or all of a server, have counted.

    Of the last `WINDOW_S`: `requests`, how many of them `failed` at a provider or here, `streams` and `slow_starts` by model.
    Of now: `waiting` records that are not in the database, the oldest for `oldest_s`, and why (`reason`). Since the start: `lost`
    records.
    """

    requests: int = 0
    failed: int = 0
    streams: dict[str, int] = {}
    slow_starts: dict[str, int] = {}
    waiting: int = 0
    oldest_s: float = 0.0
    reason: str | None = None
    lost: int = 0


def together(workers: Iterable[Figures]) -> Figures:
    """The figures of all `workers` as one."""
    each = list(workers)
    return Figures(
        requests=sum(one.requests for one in each),
        failed=sum(one.failed for one in each),
        streams=_added(one.streams for one in each),
        slow_starts=_added(one.slow_starts for one in each),
        waiting=sum(one.waiting for one in each),
        oldest_s=max((one.oldest_s for one in each), default=0.0),
        # Of the worker whose records have waited longest, if it knows.
        reason=next((one.reason for one in sorted(each, key=attrgetter("oldest_s"), reverse=True) if one.reason), None),
        lost=sum(one.lost for one in each),
    )


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


class Window:
    """Remembers this worker's totals of the last minutes, and takes the latest from them."""

    def __init__(self) -> None:
        self._history: deque[tuple[float, Figures]] = deque()

    def figures(self, now: float, status: LedgerStatus | None) -> Figures:
        """This worker's at `now` (monotonic seconds). `status`: of its ledger; None where none runs."""
        totals, history = metrics.totals, self._history
        last = Figures(totals.requests, totals.failed, dict(totals.streams), dict(totals.slow_starts))
        history.append((now, last))
        while now - history[0][0] > WINDOW_S:
            history.popleft()
        first = history[0][1]
        lately = Figures(
            requests=last.requests - first.requests,
            failed=last.failed - first.failed,
            streams=_grown(first.streams, last.streams),
            slow_starts=_grown(first.slow_starts, last.slow_starts),
        )
        if status is None:
            return lately
        return msgspec.structs.replace(
            lately,
            waiting=status.backlog_lines,
            oldest_s=status.oldest_unwritten_age_s if status.backlog_lines else 0.0,
            reason=status.last_error if status.backlog_lines else None,
            lost=status.lost_total,
        )


def _grown(first: dict[str, int], last: dict[str, int]) -> dict[str, int]:
    return {name: count - first.get(name, 0) for name, count in last.items() if count > first.get(name, 0)}
