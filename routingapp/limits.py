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


class Window:
    """What was used in the present period and in the one before."""

    __slots__ = ("current", "index", "period_s", "previous")

    def __init__(self, period_s: int) -> None:
        self.period_s = period_s
        self.index = 0
        self.current = 0
        self.previous = 0

    def used(self, now: float) -> float:
        """What counts at `now`: the present period, and the share of the last that is less than a period ago."""
        index, into = divmod(now, self.period_s)
        if index != self.index:
            self.previous = self.current if index == self.index + 1 else 0
            self.current = 0
            self.index = int(index)
        return self.current + self.previous * (1 - into / self.period_s)

    def adjust(self, index: int, change: int) -> None:
        """Add `change` to the period `index`, if that still counts. No period ever goes below 0."""
        if index == self.index:
            self.current = max(0, self.current + change)
        elif index == self.index - 1:
            self.previous = max(0, self.previous + change)

    def wait_s(self, now: float, limit: int, amount: int) -> float | None:
        """Seconds until `amount` fits if nothing else comes; None if it never does."""
        if amount > limit:
            return None
        self.used(now)
        into = now % self.period_s
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

    def take(self, rules: Sequence[Rule], tokens: int, now: float) -> None:
        self.in_flight += 1
        self.last_used = now
        for rule in rules:
            window = self.window(rule)
            window.used(now)
            window.current += tokens if rule.counts_tokens else 1

    def give_back(self, rules: Sequence[Rule], at: float, change: int, *, was_sent: bool) -> None:
        """End a request that was taken `at`: its tokens change by `change`; one that was never sent counts for nothing."""
        self.in_flight = max(0, self.in_flight - 1)
        for rule in rules:
            if rule.counts_tokens or not was_sent:
                self.windows[rule.name].adjust(int(at // rule.period_s), change if rule.counts_tokens else -1)


@dataclass(slots=True)
class Hold:
    """Room that a request has reserved in `scopes`: an estimate of `tokens`, taken `at`."""

    scopes: tuple[Scope, ...]
    tokens: int
    at: float
    meters: tuple[Meter, ...] = field(repr=False)
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
        refusal = self.refusal(scopes, tokens, now)
        if refusal is not None:
            return refusal
        meters = tuple(self._meter(scope, now) for scope in scopes)
        for scope, meter in zip(scopes, meters, strict=True):
            meter.take(scope.limits.rules, tokens, now)
        return Hold(tuple(scopes), tokens, now, meters)

    def release(self, hold: Hold, used_tokens: int, *, was_sent: bool = True) -> None:
        """End `hold`, of which `used_tokens` were really used. Ending it again changes nothing."""
        if hold.is_over:
            return
        hold.is_over = True
        for scope, meter in zip(hold.scopes, hold.meters, strict=True):
            meter.give_back(scope.limits.rules, hold.at, used_tokens - hold.tokens, was_sent=was_sent)

    def in_flight(self, scope: Scope) -> int:
        """How many requests of `scope` are under way in this process."""
        meter = self._meters.get((scope.kind, scope.id))
        return meter.in_flight if meter else 0

    def _meter(self, scope: Scope, now: float) -> Meter:
        key = (scope.kind, scope.id)
        meter = self._meters.get(key)
        if meter is None:
            if len(self._meters) >= self._max_meters:
                self._forget_some()
            meter = self._meters[key] = Meter()
            meter.last_used = now
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
