"""Budgets on a clock that tests move: what is reserved, settled and learnt from the database."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.budgets import Budgets, Reservation, Shortage, Spent, nano_down, nano_up, usd
from accounting.credentials import KeyEntry
from accounting.periods import FOREVER, period

DOLLAR = 1_000_000_000


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = at("2026-11-20T12:00")


def key(limit: str | None = "1", reset: str = "", number: int = 1) -> KeyEntry:
    return KeyEntry(
        number, "hash", "ci", "sk-or-v1-abc...def", limit_usd=Decimal(limit) if limit else None, limit_reset=reset
    )


def reserved(result: Reservation | Shortage | None) -> Reservation:
    assert isinstance(result, Reservation)
    return result


@pytest.mark.parametrize(
    ("reset", "moment", "start", "end"),
    [
        ("daily", "2026-11-20T23:59:59", "2026-11-20", "2026-11-21"),
        ("weekly", "2026-11-22T23:00", "2026-11-16", "2026-11-23"),
        ("weekly", "2026-11-23T00:00", "2026-11-23", "2026-11-30"),
        ("monthly", "2026-12-31T12:00", "2026-12-01", "2027-01-01"),
        ("monthly", "2028-02-29T12:00", "2028-02-01", "2028-03-01"),
    ],
)
def test_periods_are_those_of_utc(reset, moment, start, end):
    assert period(reset, at(moment)) == (at(start), at(end))


def test_what_is_never_reset_lasts_for_ever():
    assert period("", NOW) == (0, FOREVER)
    with pytest.raises(ValueError, match="'hourly' is no reset"):
        period("hourly", NOW)


def test_amounts_are_rounded_against_the_spender():
    assert (nano_up(Decimal("1e-12")), nano_down(Decimal("1e-12")), usd(1)) == (1, 0, Decimal("1e-9"))


def test_of_many_requests_only_what_the_budget_pays_for_is_let_in():
    budgets = Budgets()
    results = [budgets.reserve(key("1"), DOLLAR // 20, NOW) for _ in range(200)]

    assert sum(isinstance(result, Reservation) for result in results) == 20


def test_the_real_cost_takes_the_place_of_the_worst():
    budgets = Budgets()
    reservation = reserved(budgets.reserve(key("1"), DOLLAR, NOW))
    short = budgets.reserve(key("1"), 1, NOW)
    assert isinstance(short, Shortage)
    assert (short.reserved, short.free, short.is_passing) == (DOLLAR, 0, True)

    budgets.settle(reservation, DOLLAR // 10)
    budgets.settle(reservation, DOLLAR // 10)

    short = budgets.reserve(key("1"), DOLLAR, NOW)
    assert isinstance(short, Shortage)
    assert (short.spent, short.reserved, short.is_passing, short.resets_at) == (DOLLAR // 10, 0, False, None)
    reserved(budgets.reserve(key("1"), 9 * DOLLAR // 10, NOW))


def test_what_costs_nothing_is_allowed_also_when_all_is_spent():
    budgets = Budgets()
    budgets.settle(reserved(budgets.reserve(key("1"), DOLLAR, NOW)), 2 * DOLLAR)

    reserved(budgets.reserve(key("1"), 0, NOW))


def test_a_key_without_a_limit_has_no_account():
    assert Budgets().reserve(key(None), DOLLAR, NOW) is None


def test_a_new_day_begins_at_nothing_and_keeps_the_old_days_late_costs_out():
    budgets, daily = Budgets(), key("1", "daily")
    late = reserved(budgets.reserve(daily, DOLLAR, at("2026-11-20T23:59")))
    short = budgets.reserve(daily, DOLLAR, at("2026-11-20T23:59"))
    assert isinstance(short, Shortage)
    assert short.resets_at == at("2026-11-21")

    reservation = reserved(budgets.reserve(daily, DOLLAR, at("2026-11-21T00:00")))
    budgets.settle(late, DOLLAR)
    budgets.settle(reservation, 0)

    reserved(budgets.reserve(daily, DOLLAR, at("2026-11-21T00:01")))


def test_it_starts_from_what_the_database_knows_of_this_period():
    budgets, daily, start = Budgets(), key("1", "daily"), at("2026-11-20")
    budgets.learn({1: Spent(start, DOLLAR // 2)})
    assert isinstance(budgets.reserve(daily, DOLLAR, NOW), Shortage)

    budgets.learn({1: Spent(at("2026-11-19"), 9 * DOLLAR)})
    reserved(budgets.reserve(daily, DOLLAR // 2, NOW))


def test_the_database_lags_behind_and_knows_of_others():
    budgets, start = Budgets(), 0.0
    budgets.settle(reserved(budgets.reserve(key("1"), DOLLAR, NOW)), DOLLAR // 2)

    budgets.learn({1: Spent(start, DOLLAR // 10)})
    short = budgets.reserve(key("1"), DOLLAR, NOW)
    assert isinstance(short, Shortage)
    assert short.spent == DOLLAR // 2

    budgets.learn({1: Spent(start, 6 * DOLLAR // 10)})
    short = budgets.reserve(key("1"), DOLLAR, NOW)
    assert isinstance(short, Shortage)
    assert short.spent == 6 * DOLLAR // 10


def test_an_edit_of_the_limit_holds_at_once():
    budgets = Budgets()
    reserved(budgets.reserve(key("1"), DOLLAR, NOW))

    assert isinstance(budgets.reserve(key("1.5"), DOLLAR, NOW), Shortage)
    reserved(budgets.reserve(key("2"), DOLLAR, NOW))


def test_an_edit_of_the_reset_opens_another_account():
    budgets = Budgets()
    budgets.settle(reserved(budgets.reserve(key("1"), DOLLAR, NOW)), DOLLAR)

    reserved(budgets.reserve(key("1", "daily"), DOLLAR, NOW))


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1), st.booleans()), max_size=80), st.integers(1, 1000))
def test_no_order_of_events_reserves_too_much_or_settles_too_little(steps, limit_nano):
    budgets, owner = Budgets(), key(str(usd(limit_nano)))
    running: list[Reservation] = []
    spent = 0
    for amount, part, ends in steps:
        result = budgets.reserve(owner, amount, NOW)
        if isinstance(result, Reservation):
            running.append(result)
        if ends and running:
            reservation = running.pop(0)
            spent += (cost := int(reservation.amount * part))
            budgets.settle(reservation, cost)
        account = budgets.account(owner, NOW)
        assert account is not None
        assert account.spent == spent
        assert account.reserved == sum(reservation.amount for reservation in running) >= 0
        assert account.spent + account.reserved <= limit_nano
