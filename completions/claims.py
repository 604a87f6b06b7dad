"""What limits over all processes are asked and told: values, without the asking."""

from __future__ import annotations

import asyncio
import enum
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
    """Several claims under way, of which Redis takes all or none."""

    __slots__ = ("answer", "arguments", "denied", "keys", "state")

    def __init__(self, keys: list[str], arguments: list[str | int | float], answer: asyncio.Future[None]) -> None:
        self.keys, self.arguments, self.answer = keys, arguments, answer
        self.state = State.PENDING
        self.denied: Denied | None = None

    def end(self, state: State, denied: Denied | None = None) -> None:
        self.state, self.denied = state, denied
        if not self.answer.done():
            self.answer.set_result(None)
