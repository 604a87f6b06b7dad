"""What one request holds while it is served: room under its caller's limits, money, and a seat at each adapter it calls.

Everything held is given back exactly once, whichever way the request ends; `completions.exchange` sees to it that it does.
`completions.admission` decides who gets what.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec import Struct, field

from accounting.budgets import Budgets, Reservation, nano_up
from accounting.record import Attempt
from catalog.entries import ProviderEntry
from completions.claims import Claim, Held, Rate, State
from completions.shared_limits import PATIENCE_S, SharedLimits
from routingapp.capacity import Capacity
from routingapp.limits import Hold, Scope

MONTH_S = 35 * 86_400


@dataclass(slots=True)
class Room:
    """What was reserved under the limits of some scopes. `at`: epoch seconds."""

    hold: Hold
    at: float
    claim: Claim | None = None

    def rates(self) -> list[Rate | Held]:
        """The reservation as claims on what all processes share: rates first, then requests under way."""
        tokens = self.hold.tokens
        return [
            Rate(
                f"{scope.kind}:{scope.id}:{rule.name}",
                tokens if rule.counts_tokens else 1,
                rule.limit,
                rule.period_s,
                self.at,
            )
            for scope in self.hold.scopes
            for rule in scope.limits.rules
        ]

    def corrections(self, used_tokens: int, *, was_sent: bool) -> list[Rate]:
        """What shared windows lack, or have too much of, now that the request is over.

        Nothing where it was turned away before Redis had answered: `SharedLimits` then gives back what is taken all the same.
        """
        if self.claim is not None and not self.claim.is_wanted:
            return []
        counted = self.claim is not None and self.claim.state in (State.TAKEN, State.PENDING)
        changes = []
        for scope in self.hold.scopes:
            for rule in scope.limits.rules:
                real = (used_tokens if rule.counts_tokens else 1) if was_sent else 0
                reserved = (self.hold.tokens if rule.counts_tokens else 1) if counted else 0
                if real != reserved:
                    name = f"{scope.kind}:{scope.id}:{rule.name}"
                    changes.append(Rate(name, real - reserved, rule.limit, rule.period_s, self.at))
        return changes


class Seat(Struct):
    """One attempt's place at an adapter: the key that is sent, and the room it takes."""

    provider: ProviderEntry
    key: int
    room: Room | None = None


class Visit(Struct):
    """One request's reservations. `patience_s`: how long it may still wait for Redis."""

    capacity: Capacity
    budgets: Budgets
    shared: SharedLimits | None
    room: Room | None = None
    money: Reservation | None = None
    patience_s: float = PATIENCE_S
    _seats: list[tuple[Attempt, Seat]] = field(default_factory=list)

    def sit(self, attempt: Attempt, seat: Seat) -> None:
        self._seats.append((attempt, seat))

    def key_of(self, attempt: Attempt) -> int:
        """The position of the key with which this attempt is sent."""
        return next((seat.key for seated, seat in self._seats if seated is attempt), 0)

    def rise(self, attempt: Attempt) -> None:
        """The attempt is over: its seat is free, and what it used is known. Again changes nothing."""
        for place, (seated, seat) in enumerate(self._seats):
            if seated is attempt:
                del self._seats[place]
                self.free(seat, attempt.prompt_tokens + attempt.completion_tokens)
                return

    def free(self, seat: Seat, used_tokens: int, *, was_sent: bool = True) -> None:
        self.capacity.pools.released(seat.provider, seat.key)
        if seat.room is not None:
            self.give_back(seat.room, used_tokens, was_sent=was_sent)

    def give_back(self, room: Room, used_tokens: int, *, was_sent: bool = True) -> None:
        if room.hold.is_over:
            return
        self.capacity.limiter.release(room.hold, used_tokens, was_sent=was_sent)
        if self.shared is not None:
            self.shared.note([*room.corrections(used_tokens, was_sent=was_sent), *self.under_way(room.hold.scopes)])

    def under_way(self, scopes: Sequence[Scope], *, needed: int = 0) -> list[Held]:
        """How many requests this process has under way in each scope that limits them."""
        limiter = self.capacity.limiter
        return [
            Held(f"{scope.kind}:{scope.id}:now", limiter.in_flight(scope), scope.limits.concurrency, needed)
            for scope in scopes
            if scope.limits.concurrency is not None
        ]

    def reserved_money(self, *, needed: int = 0, spending: int = 0) -> Held:
        """The budget as this process knows it."""
        assert self.money is not None
        account = self.money.account
        end = account.period.end
        lasts_s = MONTH_S if end == float("inf") else min(MONTH_S, int(end - time.time()) + 3600)
        name = f"key:{account.key_id}:usd:{int(account.period.start)}"
        return Held(name, account.reserved, account.limit, needed, account.spent, spending, max(60, lasts_s))

    def end(self, used_tokens: int, cost_usd: str) -> None:
        """The request is over: everything is given back at what was really used and charged. Again changes nothing."""
        while self._seats:
            self.rise(self._seats[-1][0])
        if self.room is not None:
            self.give_back(self.room, used_tokens)
        if self.money is not None and not self.money.is_over:
            cost = nano_up(Decimal(cost_usd))
            self.budgets.settle(self.money, cost)
            if self.shared is not None:
                self.shared.note([self.reserved_money(spending=cost)])
