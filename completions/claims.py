"""What limits over all processes are asked and told: values, without the asking."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`amount` more in the sliding window `name`, of which at most `limit` may be used within `period_s`.

    `at`: in whose period it counts (epoch seconds).
    """

    name: str
    amount: int
    limit: int
    period_s: int
    at: float


@dataclass(frozen=True, slots=True)
class Held:
    """This process then holds `amount` of `name`, of which all together may hold and have spent `limit`.

    `needed`: how much of `amount` the present request adds. `spent`: what this process knows to be spent at least; `spending` is
    added to what Redis knows; both 0 where nothing is spent, as with requests under way. `lasts_s`: how long to remember it.
    """

    name: str
    amount: int
    limit: int
    needed: int = 0
    spent: int = 0
    spending: int = 0
    lasts_s: int = 60


@dataclass(frozen=True, slots=True)
class Denied:
    """Which of the claims does not fit, by position, what of it all processes use, and what they have spent of it."""

    position: int
    used: int
    spent: int


class State(enum.Enum):
    """What Redis has said of claims. UNKNOWN: it was not asked, or has been given up."""

    PENDING = "pending"
    TAKEN = "taken"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Claim:
    """Several claims under way, of which Redis takes all or none.

    `denied`: which of them does not fit, as Redis says or, where it was not waited for any longer (`is_left`), as was known
    here. `is_wanted`: whether the request goes on with it. `marks` is what `completions.heard` gave for the claims.
    """

    __slots__ = ("answer", "claims", "denied", "is_left", "is_wanted", "marks", "state")

    def __init__(self, claims: Sequence[Rate | Held], marks: Sequence[int], answer: asyncio.Future[None]) -> None:
        self.claims, self.marks, self.answer = claims, marks, answer
        self.state = State.PENDING
        self.denied: Denied | None = None
        self.is_left, self.is_wanted = False, True

    def leave(self, denied: Denied | None) -> None:
        """The answer is not waited for any longer: this is what is known here."""
        self.is_left, self.is_wanted, self.denied = True, denied is None, denied

    def abandon(self) -> None:
        """Nobody waits for the answer, nor goes on without it."""
        self.is_left, self.is_wanted = True, False

    def end(self, state: State, denied: Denied | None = None) -> None:
        self.state = state
        if not self.is_left:
            self.denied = denied
        if not self.answer.done():
            self.answer.set_result(None)
