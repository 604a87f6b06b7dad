"""What is known of shared counters between two answers."""

from __future__ import annotations

from completions.claims import Denied, Held, Rate
from completions.heard import FRESH_S, Heard

NOON = 43_200.0


def rate(amount: int = 1, at: float = NOON, name: str = "acme:rpm", limit: int = 10) -> Rate:
    return Rate(name, amount, limit, 60, at)


def held(amount: int, needed: int = 1, spent: int = 0) -> Held:
    return Held("acme:now", amount, 10, needed=needed, spent=spent)


def denied(heard: Heard, *claims: Rate | Held, now: float = NOON) -> Denied | None:
    """What is said of claims that are asked for now."""
    return heard.denied(claims, heard.ask(claims), now)


def heard_of(used: int, before: int = 0) -> Heard:
    heard, first = Heard(), [rate(0)]
    heard.ask(first)
    heard.answer(first, [(used, before)], NOON)
    return heard


def test_of_what_was_never_heard_nothing_is_known():
    assert denied(Heard(), rate(10), held(10)) is None


def test_what_redis_said_and_what_was_asked_for_since_is_used():
    heard = heard_of(7)
    assert denied(heard, rate(2)) is None
    assert denied(heard, rate(1)) is None
    assert denied(heard, rate(1)) == Denied(0, 10, 0)


def test_what_was_asked_for_later_does_not_stand_in_the_way():
    heard = heard_of(9)
    first = [rate(1)]
    marks = heard.ask(first)
    heard.ask([rate(5)])
    assert heard.denied(first, marks, NOON) is None


def test_an_answer_stands_for_all_that_came_before_it():
    heard = Heard()
    first, second = [rate(3)], [rate(4)]
    heard.ask(first)
    marks = heard.ask(second)
    heard.answer(first, [(6, 0)], NOON)
    assert heard.denied(second, marks, NOON) is None
    heard.answer(second, [(10, 0)], NOON)
    assert denied(heard, rate(1)) == Denied(0, 10, 0)


def test_of_claims_that_did_not_fit_only_the_counters_that_were_looked_at_are_told():
    heard, both = Heard(), [rate(1), rate(1, name="acme:rpd")]
    heard.ask(both)
    heard.answer(both, [(10, 0)], NOON)
    assert denied(heard, rate(1)) == Denied(0, 10, 0)
    assert denied(heard, rate(10, name="acme:rpd")) is None


def test_what_never_arrived_does_not_count_and_what_was_told_does():
    heard = heard_of(5)
    heard.ask([rate(4)])
    heard.drop([rate(4)])
    heard.ask([rate(2)])
    heard.settle([rate(2)])
    assert denied(heard, rate(3)) is None
    assert denied(heard, rate(1)) == Denied(0, 10, 0)


def test_a_window_slides_over_the_last_period():
    heard = heard_of(8)
    heard.ask([rate(2)])
    assert denied(heard, rate(5, at=NOON + 60 + 30)) is None
    assert denied(heard, rate(1, at=NOON + 60 + 30)) == Denied(0, 10, 0)
    assert denied(heard, rate(10, at=NOON + 180)) is None
    assert denied(heard, rate(99, at=NOON)) is None, "a period that is over is nobody's limit"


def test_what_others_hold_is_believed_for_a_moment_and_what_is_spent_for_longer():
    heard, first = Heard(), [held(1)]
    heard.ask(first)
    heard.answer(first, [(5, 3)], NOON)
    assert denied(heard, held(2)) is None
    assert denied(heard, held(3)) == Denied(0, 10, 3)
    assert denied(heard, held(3, needed=0)) is None
    assert denied(heard, held(7), now=NOON + FRESH_S + 0.1) is None
    assert denied(heard, held(8), now=NOON + FRESH_S + 0.1) == Denied(0, 10, 3)
    assert denied(heard, held(1, spent=10), now=NOON) == Denied(0, 15, 10)
