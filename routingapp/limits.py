"""Counting against limits: who has asked for how much lately, and whether one more request fits.

Pure; the time is an argument, in seconds of one clock. Each reservation is ended by exactly one `release`, which puts what was
really used in the place of the estimate. A window is two counters: the present one, and the part of the one before that a
window sliding back from now still covers. What a limit is, is said in `catalog.limits`; storage beyond this process is not
known here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from catalog.limits import Limits, Rule

MAX_METERS = 20_000
"""So many scopes are remembered at most: addresses of strangers must not fill the memory."""
CONCURRENCY_RETRY_S = 1.0
"""Nobody knows when a running request ends, so callers are told to come back after this."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose limits: `kind` is provider, adapter, key or client, `id` its identity within the kind, `label` for people."""

    kind: str
    id: str
    label: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that does not let a request through. `rule` is None for concurrency.

    `wait_s`: when it would fit if nothing else came; None: never, the request is larger than the limit itself.
    """

    scope: Scope
    rule: Rule | None
    limit: int
    used: int
    needed: int
    wait_s: float | None

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    def __str__(self) -> str:
        if self.rule is None:
            return f"{self.scope.label} has {self.used} requests under way, its limit is {self.limit} at once"
        if self.wait_s is None:
            return f"the request needs about {self.needed} tokens, {self.scope.label} takes {self.rule} at most"
        needs = f", this request needs about {self.needed}" if self.rule.counts_tokens else ""
        return f"{self.scope.label} takes {self.rule}; {self.used} are used{needs}"


class Standing(NamedTuple):
    """How much of one limit is used: `kind` says whose it is, `name` which (rpm, tpm …, concurrency)."""

    kind: str
    name: str
    used: int
    limit: int


class Window:
    """What was used in the present period, which began at `start`, and in the one before."""

    __slots__ = ("current", "period_s", "previous", "start")

    def __init__(self, period_s: int) -> None:
        self.period_s = period_s
        self.start = 0.0
        self.current = 0
        self.previous = 0

    def used(self, now: float) -> float:
        """What counts at `now`: the present period, and the share of the last that is less than a period ago."""
        into = now - self.start
        if not 0 <= into < self.period_s:
            start = now // self.period_s * self.period_s
            self.previous = self.current if start == self.start + self.period_s else 0
            self.current, self.start, into = 0, start, now - start
        return self.current + self.previous * (1 - into / self.period_s) if self.previous else self.current

    def adjust(self, start: float, change: int) -> None:
        """Add `change` to the period that began at `start`, if that still counts. No period ever goes below 0."""
        if start == self.start:
            self.current = max(0, self.current + change)
        elif start == self.start - self.period_s:
            self.previous = max(0, self.previous + change)

    def wait_s(self, now: float, limit: int, amount: int) -> float | None:
        """Seconds until `amount` fits if nothing else comes; None if it never does."""
        if amount > limit:
            return None
        self.used(now)
        into = now - self.start
        room = limit - amount
        if self.current <= room:
            # The rest of the last period has to slide out.
            return max(0.0, _slid(self.previous, room - self.current) * self.period_s - into)
        return self.period_s - into + _slid(self.current, room) * self.period_s


def _slid(count: int, room: int) -> float:
    """Which part of a period must pass until no more than `room` of `count` is left in sight."""
    return max(0.0, 1 - room / count) if count else 0.0


class Meter:
    """The counters of one scope. They outlive an edit of its limits."""

    __slots__ = ("in_flight", "last_used", "windows")

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}
        self.in_flight = 0
        self.last_used = 0.0

    def window(self, rule: Rule) -> Window:
        found = self.windows.get(rule.name)
        if found is None:
            found = self.windows[rule.name] = Window(rule.period_s)
        return found

    def refusal(self, scope: Scope, tokens: int, now: float) -> Refusal | None:
        """Why a request of `tokens` does not fit at `now`; None if it does."""
        limits = scope.limits
        if limits.concurrency is not None and self.in_flight >= limits.concurrency:
            return Refusal(scope, None, limits.concurrency, self.in_flight, 1, CONCURRENCY_RETRY_S)
        for rule in limits.rules:
            needed = tokens if rule.counts_tokens else 1
            window = self.window(rule)
            used = window.used(now)
            if used + needed > rule.limit:
                return Refusal(scope, rule, rule.limit, math.ceil(used), needed, window.wait_s(now, rule.limit, needed))
        return None


Taken = tuple[Window, float, bool]
"""A window of which something was taken, the beginning of the period it was taken in, and whether it counts tokens."""


@dataclass(slots=True)
class Hold:
    """Room that a request has reserved in `scopes`: an estimate of `tokens`."""

    scopes: tuple[Scope, ...]
    tokens: int
    meters: list[Meter] = field(repr=False)
    taken: list[Taken] = field(repr=False)
    is_over: bool = False


class Limiter:
    """All counters of one process. Not for several threads."""

    def __init__(self, max_meters: int = MAX_METERS) -> None:
        self._meters: dict[tuple[str, str], Meter] = {}
        self._max_meters = max_meters

    def refusal(self, scopes: Sequence[Scope], tokens: int, now: float) -> Refusal | None:
        """What stands in the way of a request of about `tokens`: first what never lets it through. None: nothing."""
        found: Refusal | None = None
        for scope in scopes:
            meter = self._meters.get((scope.kind, scope.id))
            refusal = (meter or _FRESH).refusal(scope, tokens, now) if meter or scope.limits.rules else None
            if refusal is not None and refusal.wait_s is None:
                return refusal
            if refusal is not None and (found is None or (refusal.wait_s or 0) > (found.wait_s or 0)):
                found = refusal
        return found

    def take(self, scopes: Sequence[Scope], tokens: int, now: float) -> Hold | Refusal:
        """Room in every scope for a request of about `tokens`, or what stands in the way: then nothing is taken."""
        meters: list[Meter] = []
        taken: list[Taken] = []
        for scope in scopes:
            meter = self._meters.get((scope.kind, scope.id)) or self._new_meter(scope)
            most = scope.limits.concurrency
            fits = most is None or meter.in_flight < most
            for rule in scope.limits.rules:
                window = meter.windows.get(rule.name) or meter.window(rule)
                fits = fits and window.used(now) + (tokens if rule.counts_tokens else 1) <= rule.limit
                taken.append((window, window.start, rule.counts_tokens))
            meters.append(meter)
            if not fits:
                refusal = self.refusal(scopes, tokens, now)
                assert refusal is not None
                return refusal
        for meter in meters:
            meter.in_flight += 1
            meter.last_used = now
        for window, _, counts_tokens in taken:
            window.current += tokens if counts_tokens else 1
        return Hold(tuple(scopes), tokens, meters, taken)

    def release(self, hold: Hold, used_tokens: int, *, was_sent: bool = True) -> None:
        """End `hold`, of which `used_tokens` were really used; one that was never sent counts for nothing.

        Ending it again changes nothing.
        """
        if hold.is_over:
            return
        hold.is_over = True
        for meter in hold.meters:
            meter.in_flight = max(0, meter.in_flight - 1)
        for window, start, counts_tokens in hold.taken:
            if counts_tokens:
                window.adjust(start, used_tokens - hold.tokens)
            elif not was_sent:
                window.adjust(start, -1)

    def used(self, scope: Scope, now: float) -> list[tuple[Rule, float]]:
        """Each limit on a rate of `scope`, and how much of it is used in this process."""
        meter = self._meters.get((scope.kind, scope.id)) or _FRESH
        return [(rule, meter.window(rule).used(now)) for rule in scope.limits.rules]

    def in_flight(self, scope: Scope) -> int:
        """How many requests of `scope` are under way in this process."""
        meter = self._meters.get((scope.kind, scope.id))
        return meter.in_flight if meter else 0

    def standings(self, scope: Scope, now: float) -> list[Standing]:
        """Each limit of `scope`, and how much of it is used."""
        meter = self._meters.get((scope.kind, scope.id)) or Meter()
        told = [
            Standing(scope.kind, rule.name, math.ceil(meter.window(rule).used(now)), rule.limit)
            for rule in scope.limits.rules
        ]
        most = scope.limits.concurrency
        return told if most is None else [*told, Standing(scope.kind, "concurrency", meter.in_flight, most)]

    def _new_meter(self, scope: Scope) -> Meter:
        if len(self._meters) >= self._max_meters:
            self._forget_some()
        meter = self._meters[(scope.kind, scope.id)] = Meter()
        return meter

    def _forget_some(self) -> None:
        """Forget the tenth of all idle meters that were used longest ago."""
        idle = sorted(
            (meter.last_used, key) for key, meter in self._meters.items() if not meter.in_flight and key[0] == "client"
        )
        for _, key in idle[: self._max_meters // 10 + 1]:
            del self._meters[key]


_FRESH = Meter()
"""Stands for a scope that was never used."""
