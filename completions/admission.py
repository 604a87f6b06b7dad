"""Who is let in: the caller's own limits and budget before a request is served, an adapter's limits and keys before each call.

Reserves first in this process, at no cost worth mentioning, then in Redis where there is one. What is reserved is on the
exchange's `Visit` before anything is awaited, so that a client's leaving gives it back as well.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from accounting import worst_case as worst
from accounting.budgets import Account, Budgets, Shortage, shortage, usd
from accounting.credentials import KeyEntry
from accounting.throttle import neighbourhood
from catalog.limits import NO_LIMITS, Limits
from completions.claims import Claim, Denied, Held, Rate
from completions.shared_limits import SharedLimits
from completions.visit import Room, Seat, Visit
from gateway_project.errors import CallerError, PaymentRequired, ProviderAuthFailed, ProviderError, ProviderRateLimited
from routingapp import limit_refusals
from routingapp.capacity import Capacity, tokens_of
from routingapp.keypool import Fault
from routingapp.limits import CONCURRENCY_RETRY_S, Refusal, Scope
from routingapp.plan import Candidate, Plan

if TYPE_CHECKING:
    from completions.exchange import Exchange

_SEARCHES = frozenset({"web", "web_search", "web_search_preview", "openrouter:web_search"})
"""The plugin and the tools that ask for web search."""


class NoSeat(Exception):
    """A candidate cannot be called; `code` is that of the filter which would have left it out.

    `error`: what the caller is told where nobody else can be called either; None for a pause that is soon over.
    """

    def __init__(self, code: str, reason: str, error: CallerError | None = None) -> None:
        super().__init__(reason)
        self.code, self.reason, self.error = code, reason, error


@dataclass(slots=True)
class Gate:
    """Lets requests in, one per process. `anonymous`: the limits of each address from which callers without a key come."""

    capacity: Capacity = field(default_factory=lambda: Capacity(time.time))
    budgets: Budgets = field(default_factory=Budgets)
    shared: SharedLimits | None = None
    anonymous: Limits = NO_LIMITS
    _keys: dict[int, tuple[KeyEntry, tuple[Scope, ...]]] = field(default_factory=dict)

    async def admit(self, exchange: Exchange, plan: Plan) -> None:
        """Reserve what `plan` may use of its caller's limits and budget. Raises `RateLimited`, `PaymentRequired` and, for a
        request that is larger than a limit, `InvalidRequest`."""
        visit = exchange.visit = Visit(self.capacity, self.budgets, self.shared)
        if self.shared is not None:
            visit.patience_s = self.shared.patience_s
        scopes = self._caller(exchange.key, exchange.address)
        if not scopes and exchange.key.limit_usd is None:
            return
        now, epoch = time.monotonic(), time.time()
        if scopes:
            assert exchange.ask is not None
            held = self.capacity.limiter.take(scopes, tokens_of(exchange.ask, plan.candidates[0].adapter), now)
            if isinstance(held, Refusal):
                raise limit_refusals.error_of(held, epoch)
            visit.room = Room(held, epoch)
        needed = worst_case(exchange, plan) if exchange.key.limit_usd is not None else 0
        money = self.budgets.reserve(exchange.key, needed, epoch)
        if isinstance(money, Shortage):
            self._turn_away(visit)
            raise payment_required(exchange, plan, money, epoch)
        visit.money = money
        if self.shared is not None:
            await self._admit_everywhere(exchange, plan, visit, needed, epoch)

    async def _admit_everywhere(self, exchange: Exchange, plan: Plan, visit: Visit, needed: int, epoch: float) -> None:
        claims: list[Rate | Held] = []
        if visit.room is not None:
            claims += [*visit.room.rates(), *visit.under_way(visit.room.hold.scopes, needed=1)]
        if visit.money is not None and needed:
            claims.append(visit.reserved_money(needed=needed))
        claim = await self._ask(visit, claims)
        if visit.room is not None:
            visit.room.claim = claim
        if claim is None or claim.denied is None:
            return
        denied, asked = claim.denied, claims[claim.denied.position]
        money, room = visit.money, visit.room
        self._turn_away(visit)
        if money is not None and isinstance(asked, Held) and denied.position == len(claims) - 1 and needed:
            raise payment_required(exchange, plan, _shortage_of(money.account, denied, needed), epoch)
        assert room is not None
        raise limit_refusals.error_of(_refusal_of(room, asked, denied), epoch)

    def _turn_away(self, visit: Visit) -> None:
        """Give back what was reserved for a request that is not served after all."""
        if visit.room is not None:
            visit.give_back(visit.room, 0, was_sent=False)
        if visit.money is not None:
            visit.end(0, "0")

    async def seat(self, exchange: Exchange, candidate: Candidate) -> Seat:
        """A place at the candidate's adapter, to be handed to `Visit.sit` at once. Raises `NoSeat`."""
        visit = exchange.visit
        assert visit is not None
        adapter, now = candidate.adapter, time.monotonic()
        key = self.capacity.pools.choose(adapter.provider, now, self.capacity.revision)
        if key is None:
            raise NoSeat("keys_exhausted", self.capacity.keys_out(adapter, now) or "no key can be used")
        seat = Seat(adapter.provider, key)
        scopes = self.capacity.scopes_of(adapter)
        if not scopes:
            return seat
        assert exchange.ask is not None
        held = self.capacity.limiter.take(scopes, tokens_of(exchange.ask, adapter), now)
        if isinstance(held, Refusal):
            visit.free(seat, 0)
            raise self._no_seat(held)
        seat.room = Room(held, time.time())
        if self.shared is None:
            return seat
        claims = [*seat.room.rates(), *visit.under_way(scopes, needed=1)]
        try:
            seat.room.claim = await self._ask(visit, claims)
        except BaseException:
            visit.free(seat, 0, was_sent=False)
            raise
        denied = seat.room.claim.denied if seat.room.claim else None
        if denied is not None:
            visit.free(seat, 0, was_sent=False)
            raise self._no_seat(_refusal_of(seat.room, claims[denied.position], denied))
        return seat

    def leave(self, exchange: Exchange, seat: Seat) -> None:
        """Give back a seat from which nothing was sent."""
        if exchange.visit is not None:
            exchange.visit.free(seat, 0, was_sent=False)

    def _no_seat(self, refusal: Refusal) -> NoSeat:
        return NoSeat("limit", str(refusal), limit_refusals.error_of(refusal, time.time()))

    async def _ask(self, visit: Visit, claims: list[Rate | Held]) -> Claim | None:
        """What Redis says of `claims`, if it says so before this request's patience is at its end."""
        if self.shared is None or not claims:
            return None
        began = time.monotonic()
        claim = self.shared.claim(claims)
        if claim is not None:
            await self.shared.wait(claim, visit.patience_s)
            visit.patience_s -= time.monotonic() - began
        return claim

    def another_key(self, seat: Seat, error: ProviderError) -> bool:
        """Tell the pool what the provider held against the key. Gives whether the call may be made again with another."""
        if isinstance(error, ProviderRateLimited):
            fault = Fault.RATE_LIMITED
        elif isinstance(error, ProviderAuthFailed):
            fault = Fault.REFUSED
        else:
            return False
        now, revision = time.monotonic(), self.capacity.revision
        return self.capacity.pools.failed(seat.provider, seat.key, fault, error.retry_after_s, now, revision)

    def _caller(self, key: KeyEntry, address: str) -> tuple[Scope, ...]:
        """The scopes that the caller's own limits are counted in."""
        if not self.capacity.is_limiting:
            return ()
        if key.id is None:
            if self.anonymous.is_none:
                return ()
            return (Scope("client", neighbourhood(address), "an address without a key", self.anonymous),)
        known = self._keys.get(key.id)
        if known is None or known[0] is not key:
            limits = Limits(rpm=key.rpm_limit, tpm=key.tpm_limit, concurrency=key.max_concurrency)
            scope = Scope("key", str(key.id), f"the key {key.name} ({key.label})", limits)
            known = self._keys[key.id] = (key, () if limits.is_none else (scope,))
        return known[1]


def worst_case(exchange: Exchange, plan: Plan) -> int:
    """What the dearest candidate could charge for the longest answer, in nano-dollars."""
    return max(_worst_cost(exchange, candidate) for candidate in plan.candidates)


def _worst_cost(exchange: Exchange, candidate: Candidate) -> int:
    assert exchange.ask is not None
    prompt_tokens = exchange.ask.prompt_tokens
    rates = worst.rates(exchange.prices_of(candidate), prompt_tokens, _extras(exchange))
    return rates.cost(prompt_tokens, _longest_answer(exchange, candidate))


def _extras(exchange: Exchange) -> frozenset[str]:
    """What may be charged besides text."""
    ask, chat = exchange.ask, exchange.chat
    assert ask is not None
    asked = [*(chat.get("tools") or ()), *(chat.get("plugins") or ())]
    names = {str(one.get(name)) for one in asked if isinstance(one, dict) for name in ("type", "id")}
    may_search = "web_search_options" in chat or not names.isdisjoint(_SEARCHES)
    return worst.extras(ask.input_modalities, ask.output_modalities, may_search=may_search)


def _longest_answer(exchange: Exchange, candidate: Candidate) -> int:
    assert exchange.ask is not None
    adapter = candidate.adapter
    longest = exchange.ask.max_output_tokens or adapter.max_output_length or adapter.context_length
    choices = exchange.chat.get("n")
    return longest * (choices if isinstance(choices, int) and choices > 1 else 1)


def payment_required(exchange: Exchange, plan: Plan, short: Shortage, epoch: float) -> PaymentRequired:
    """402 in OpenRouter's words (openrouter.md 4.2), with every number. One that passes by itself may be tried again."""
    assert exchange.ask is not None
    dearest = max(plan.candidates, key=lambda candidate: _worst_cost(exchange, candidate))
    tokens = _longest_answer(exchange, dearest)
    rates = worst.rates(exchange.prices_of(dearest), exchange.ask.prompt_tokens, _extras(exchange))
    prompt_cost = rates.cost(exchange.ask.prompt_tokens, 0)
    affordable = int(max(0, short.free - prompt_cost) / rates.completion) if rates.completion else 0
    resets_at = datetime.fromtimestamp(short.resets_at, UTC).isoformat() if short.resets_at is not None else None
    when = f" It is reset at {resets_at}." if resets_at else ""
    return PaymentRequired(
        "This request requires more credits, or fewer max_tokens. You requested up to "
        f"{tokens} tokens, but can only afford {affordable}. The limit of the key {exchange.key.name} is "
        f"{_dollars(short.limit)}, of which {_dollars(short.spent)} are spent and {_dollars(short.reserved)} reserved for "
        f"requests under way; this one may cost {_dollars(short.needed)}.{when}",
        metadata={
            "limit_source": "openrouter_key_limit",
            "limit": float(usd(short.limit)),
            "spent": float(usd(short.spent)),
            "reserved": float(usd(short.reserved)),
            "needed": float(usd(short.needed)),
            "resets_at": resets_at,
        },
        headers={"Retry-After": "1"} if short.is_passing else {},
    )


def _dollars(nano: int) -> str:
    return f"${usd(nano).normalize():f}"


def _shortage_of(account: Account, denied: Denied, needed: int) -> Shortage:
    """The shortage that Redis has found: it knows what all processes have spent and reserved."""
    account.spent = max(account.spent, denied.spent)
    here = shortage(account, needed)
    return Shortage(here.limit, denied.spent, max(0, denied.used - denied.spent), needed, here.resets_at)


def _refusal_of(room: Room, asked: Rate | Held, denied: Denied) -> Refusal:
    """The refusal that a claim denied by Redis stands for."""
    for scope in room.hold.scopes:
        if asked.name == f"{scope.kind}:{scope.id}:now":
            return Refusal(scope, None, asked.limit, denied.used, 1, CONCURRENCY_RETRY_S)
        for rule in scope.limits.rules:
            if asked.name == f"{scope.kind}:{scope.id}:{rule.name}" and isinstance(asked, Rate):
                wait_s = rule.period_s - room.at % rule.period_s
                return Refusal(scope, rule, asked.limit, denied.used, asked.amount, wait_s)
    raise ValueError(f"{asked.name} is no claim of this room")
