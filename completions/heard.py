"""What a process knows of shared counters between two answers of Redis: what it heard last, and what it has asked for since.

With it a request is judged whose answer does not come in time, so that a slow Redis costs exactness only by what other processes
have done in the meantime. Pure; times in epoch seconds. Answers come in the order of what was asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from completions.claims import Denied, Held, Rate

MAX_NAMES = 20_000
"""So many counters are remembered at most; past it all are forgotten, and heard of again with the next answers."""
FRESH_S = 1.0
"""What other processes hold changes with every request, so it is believed for this long after it was heard."""

Counters = Sequence[tuple[int, int]]
"""What Redis says of each claim: of a rate what is used in its period and in the one before, of what is held how much others
hold, and what is spent."""


@dataclass(slots=True)
class _Window:
    """One period of a rate. `asked` and `settled` add up all amounts that were asked for, and those that have been answered."""

    index: int
    current: int = 0
    previous: int = 0
    asked: int = 0
    settled: int = 0

    def advance(self, index: int) -> None:
        if index > self.index:
            unsettled = self.asked - self.settled
            self.previous = max(0, self.current + unsettled) if index == self.index + 1 else 0
            self.index, self.current, self.asked, self.settled = index, 0, 0, 0


@dataclass(slots=True)
class _Holding:
    others: int = 0
    spent: int = 0
    heard_at: float = 0.0


@dataclass(slots=True)
class Heard:
    """The shared counters as one process knows them."""

    _windows: dict[str, _Window] = field(default_factory=dict)
    _holdings: dict[str, _Holding] = field(default_factory=dict)

    def ask(self, changes: Iterable[Rate | Held]) -> list[int]:
        """Note that `changes` are on their way. Gives, for each, how much was asked for up to and with it."""
        return [self._ask(change) if isinstance(change, Rate) else 0 for change in changes]

    def settle(self, changes: Iterable[Rate | Held]) -> None:
        """These have arrived, and count."""
        for change in changes:
            if isinstance(change, Rate) and (window := self._present(change)) is not None:
                window.settled += change.amount
                window.current = max(0, window.current + change.amount)

    def drop(self, changes: Iterable[Rate | Held]) -> None:
        """These will never arrive."""
        for change in changes:
            if isinstance(change, Rate) and (window := self._present(change)) is not None:
                window.settled += change.amount

    def answer(self, claims: Sequence[Rate | Held], counters: Counters, now: float) -> None:
        """Redis has answered: `counters` of the first claims, all of them where they were taken."""
        self.drop(claims)
        for claim, (first, second) in zip(claims, counters, strict=False):
            if isinstance(claim, Held):
                if len(self._holdings) >= MAX_NAMES:
                    self._holdings.clear()
                self._holdings[claim.name] = _Holding(first, second, now)
            elif (window := self._present(claim)) is not None:
                window.current, window.previous = first, second

    def denied(self, claims: Sequence[Rate | Held], marks: Sequence[int], now: float) -> Denied | None:
        """Which of `claims` does not fit by all that is known; None if all do. `marks` is what `ask` gave for them."""
        for position, (claim, mark) in enumerate(zip(claims, marks, strict=True)):
            if isinstance(claim, Rate):
                used = self._used(claim, mark)
                if used > claim.limit:
                    return Denied(position, math.ceil(used - claim.amount), 0)
            elif claim.needed > 0:
                known = self._holdings.get(claim.name) or _Holding()
                spent = max(known.spent, claim.spent)
                used = spent + claim.amount + (known.others if now - known.heard_at <= FRESH_S else 0)
                if used > claim.limit:
                    return Denied(position, used - claim.needed, spent)
        return None

    def _ask(self, change: Rate) -> int:
        window = self._present(change)
        if window is None:
            return 0
        window.asked += change.amount
        return window.asked

    def _used(self, claim: Rate, mark: int) -> float:
        """What is used with `claim` and with all that was asked for before it."""
        window = self._present(claim)
        if window is None:
            return 0.0
        share = 1 - claim.at % claim.period_s / claim.period_s
        return window.current + (mark - window.settled) + window.previous * share

    def _present(self, change: Rate) -> _Window | None:
        """The window of that rate in the period in which `change` counts; None where a later one has begun."""
        index = int(change.at // change.period_s)
        window = self._windows.get(change.name)
        if window is None:
            if len(self._windows) >= MAX_NAMES:
                self._windows.clear()
            window = self._windows[change.name] = _Window(index)
        window.advance(index)
        return window if window.index == index else None
