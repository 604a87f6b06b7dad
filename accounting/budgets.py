"""Budgets of keys: what a request may cost at worst is reserved before it, and settled to its real cost after it.

Pure; times in epoch seconds, amounts in whole nano-dollars (`nano`), so that sums are exact and cheap. What was spent comes from
the database now and then (`learn`) and grows here with every request in between; it never shrinks within a period. Storage
beyond this process is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from accounting.credentials import KeyEntry
from accounting.periods import FOREVER, Period, period

NANO = Decimal(1_000_000_000)


def nano_up(usd: Decimal) -> int:
    """`usd` in nano-dollars, rounded up: for what is spent."""
    return int((usd * NANO).to_integral_value(ROUND_CEILING))


def nano_down(usd: Decimal) -> int:
    """`usd` in nano-dollars, rounded down: for what may be spent."""
    return int((usd * NANO).to_integral_value(ROUND_FLOOR))


def usd(nano: int) -> Decimal:
    """`nano` nano-dollars in USD."""
    return Decimal(nano) / NANO


@dataclass(frozen=True, slots=True)
class Spent:
    """What the database knows: `nano` spent by a key in the period that began at `start`."""

    start: float
    nano: int


@dataclass(slots=True)
class Account:
    """One key in one period. `reserved` is what requests under way may still cost."""

    key_id: int
    reset: str
    period: Period
    limit: int
    spent: int = 0
    reserved: int = 0

    @property
    def free(self) -> int:
        """What may still be reserved, never below 0."""
        return max(0, self.limit - self.spent - self.reserved)


@dataclass(slots=True)
class Reservation:
    """`amount` reserved on `account`, until it is settled."""

    account: Account = field(repr=False)
    amount: int
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Shortage:
    """A request that the budget does not allow. Amounts in nano-dollars; `resets_at` in epoch seconds, None for never."""

    limit: int
    spent: int
    reserved: int
    needed: int
    resets_at: float | None

    @property
    def free(self) -> int:
        return max(0, self.limit - self.spent - self.reserved)

    @property
    def is_passing(self) -> bool:
        """Whether only requests under way stand in the way, which may turn out cheaper than feared."""
        return self.spent + self.needed <= self.limit


class Budgets:
    """The budgets of all keys, as this process knows them. `learn` may be called from another thread."""

    def __init__(self) -> None:
        self._accounts: dict[int, Account] = {}
        self._known: Mapping[int, Spent] = {}
        self._seen: Mapping[int, Spent] = self._known

    def learn(self, known: Mapping[int, Spent]) -> None:
        """What the database says was spent, by key id. One assignment: the request path takes it from there."""
        self._known = known

    def account(self, key: KeyEntry, now: float) -> Account | None:
        """The present account of `key`; None for a key without a limit."""
        if key.limit_usd is None or key.id is None:
            return None
        if self._known is not self._seen:
            self._take_over()
        account = self._accounts.get(key.id)
        if account is None or account.reset != key.limit_reset or not account.period.start <= now < account.period.end:
            account = Account(key.id, key.limit_reset, period(key.limit_reset, now), 0)
            known = self._known.get(key.id)
            if known is not None and known.start == account.period.start:
                account.spent = known.nano
            self._accounts[key.id] = account
        account.limit = nano_down(key.limit_usd)
        return account

    def reserve(self, key: KeyEntry, amount: int, now: float) -> Reservation | Shortage | None:
        """Set `amount` aside; a `Shortage` if the budget does not allow it, None for a key without a limit.

        What costs nothing is always allowed, also when the budget is spent.
        """
        account = self.account(key, now)
        if account is None:
            return None
        if amount and account.spent + account.reserved + amount > account.limit:
            return shortage(account, amount)
        account.reserved += amount
        return Reservation(account, amount)

    def settle(self, reservation: Reservation, cost: int) -> None:
        """End `reservation` at its real `cost`, 0 where nothing was charged. Ending it again changes nothing."""
        if reservation.is_over:
            return
        reservation.is_over = True
        account = reservation.account
        account.reserved -= reservation.amount
        account.spent += cost

    def _take_over(self) -> None:
        self._seen = self._known
        for key_id, spent in self._seen.items():
            account = self._accounts.get(key_id)
            if account is not None and account.period.start == spent.start:
                # The database lags behind this process, and knows what other processes have spent.
                account.spent = max(account.spent, spent.nano)


def shortage(account: Account, needed: int) -> Shortage:
    """How `account` falls short of `needed`."""
    end = account.period.end
    resets_at = None if end == FOREVER else end
    return Shortage(account.limit, account.spent, account.reserved, needed, resets_at)
