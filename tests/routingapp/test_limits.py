"""Windows, reservations and what they are settled to, on a clock that tests move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.limits import Limits
from routingapp.limits import Hold, Limiter, Refusal, Scope, Window

NOON = 12 * 3600.0


def scope(kind: str = "provider", id: str = "1", **limits: int) -> Scope:
    return Scope(kind, id, f"{kind} {id}", Limits(**limits))


def taken(result: Hold | Refusal) -> Hold:
    assert isinstance(result, Hold), str(result)
    return result


def refused(result: Hold | Refusal) -> Refusal:
    assert isinstance(result, Refusal)
    return result


def test_requests_within_a_minute_are_counted_and_the_next_is_refused():
    limiter, acme = Limiter(), scope(rpm=2)
    for _ in range(2):
        taken(limiter.take([acme], 10, NOON))

    refusal = refused(limiter.take([acme], 10, NOON + 1))

    assert (refusal.limit, refusal.used, refusal.remaining) == (2, 2, 0)
    assert "2 requests per minute" in str(refusal)


def test_the_wait_that_is_told_is_exactly_long_enough():
    limiter, acme = Limiter(), scope(tpm=100)
    for second, tokens in ((0, 40), (30, 50)):
        limiter.release(taken(limiter.take([acme], tokens, NOON + second)), tokens)

    wait_s = refused(limiter.take([acme], 60, NOON + 40)).wait_s

    assert wait_s is not None
    assert isinstance(limiter.take([acme], 60, NOON + 40 + wait_s - 0.1), Refusal)
    taken(limiter.take([acme], 60, NOON + 40 + wait_s + 0.001))


def test_what_was_used_slides_out_and_does_not_return_all_at_once():
    limiter, acme = Limiter(), scope(rpm=60)
    for _ in range(60):
        taken(limiter.take([acme], 0, NOON + 59))
    admitted = sum(isinstance(limiter.take([acme], 0, NOON + 61), Hold) for _ in range(60))

    assert admitted == 1


def test_an_estimate_gives_way_to_what_was_used():
    limiter, acme = Limiter(), scope(tpm=100)
    hold = taken(limiter.take([acme], 100, NOON))
    assert isinstance(limiter.take([acme], 1, NOON), Refusal)

    limiter.release(hold, 30)

    taken(limiter.take([acme], 70, NOON))
    assert isinstance(limiter.take([acme], 1, NOON), Refusal)


def test_a_call_that_was_never_sent_counts_for_nothing():
    limiter, acme = Limiter(), scope(rpm=1, tpm=100)
    limiter.release(taken(limiter.take([acme], 100, NOON)), 0, was_sent=False)

    taken(limiter.take([acme], 100, NOON))


def test_a_call_that_failed_was_a_request_but_used_no_tokens():
    limiter, acme = Limiter(), scope(rpm=1, tpm=100)
    limiter.release(taken(limiter.take([acme], 100, NOON)), 0)

    assert refused(limiter.take([acme], 1, NOON)).rule == acme.limits.rules[0]
    taken(limiter.take([scope(tpm=100)], 100, NOON))


def test_an_answer_longer_than_estimated_is_counted_in_full():
    limiter, acme = Limiter(), scope(tpm=100)
    limiter.release(taken(limiter.take([acme], 10, NOON)), 250)

    refusal = refused(limiter.take([acme], 1, NOON))
    assert (refusal.used, refusal.remaining) == (250, 0)


def test_a_request_larger_than_the_limit_is_told_never_and_not_to_wait():
    refusal = refused(Limiter().take([scope(tpm=100)], 101, NOON))

    assert refusal.wait_s is None
    assert str(refusal) == "the request needs about 101 tokens, provider 1 takes 100 tokens per minute at most"


def test_running_requests_are_counted_until_they_end():
    limiter, acme = Limiter(), scope(concurrency=2)
    holds = [taken(limiter.take([acme], 0, NOON)) for _ in range(2)]
    assert "2 requests under way" in str(refused(limiter.take([acme], 0, NOON)))

    limiter.release(holds[0], 0)
    limiter.release(holds[0], 0)

    taken(limiter.take([acme], 0, NOON))
    assert isinstance(limiter.take([acme], 0, NOON), Refusal)


def test_all_scopes_are_taken_or_none():
    limiter, wide, narrow = Limiter(), scope("provider", rpm=10), scope("adapter", rpm=1)
    taken(limiter.take([wide, narrow], 0, NOON))
    for _ in range(20):
        assert refused(limiter.take([wide, narrow], 0, NOON)).scope == narrow

    assert sum(isinstance(limiter.take([wide], 0, NOON), Hold) for _ in range(20)) == 9


def test_a_day_is_counted_apart_from_the_minutes_in_it():
    limiter, acme = Limiter(), scope(rpd=3)
    for hour in range(3):
        taken(limiter.take([acme], 0, NOON + hour * 3600))
    assert "3 requests per day" in str(refused(limiter.take([acme], 0, NOON + 4 * 3600)))

    taken(limiter.take([acme], 0, NOON + 2 * 86_400))


def test_an_edit_of_a_limit_keeps_what_was_used():
    limiter = Limiter()
    hold = taken(limiter.take([scope(rpm=5, tpm=100)], 100, NOON))
    assert isinstance(limiter.take([scope(tpm=50)], 1, NOON), Refusal)

    limiter.release(hold, 20)

    taken(limiter.take([scope(tpm=50)], 30, NOON))


def test_asking_what_stands_in_the_way_takes_nothing():
    limiter, acme = Limiter(), scope(rpm=1)
    for _ in range(5):
        assert limiter.refusal([acme], 10, NOON) is None
    taken(limiter.take([acme], 10, NOON))


def test_addresses_of_strangers_do_not_fill_the_memory():
    limiter, key = Limiter(max_meters=100), scope("key", "1", rpm=1)
    taken(limiter.take([key], 0, NOON))
    for number in range(1000):
        hold = taken(limiter.take([scope("client", str(number), rpm=1)], 0, NOON + number / 1000))
        limiter.release(hold, 0)

    assert len(limiter._meters) <= 100
    assert isinstance(limiter.take([key], 0, NOON + 1), Refusal), "a key is not forgotten for strangers"


def test_a_clock_that_is_set_back_blocks_nobody_for_ever():
    window = Window(60)
    window.used(NOON + 86_400)
    window.current = 10
    assert window.used(NOON) == 0


steps = st.lists(
    st.tuples(
        st.floats(0, 90),  # seconds until the step
        st.integers(0, 60),  # tokens estimated
        st.floats(0, 1),  # the part of them that is used
        st.booleans(),  # whether the oldest request under way ends now
        st.booleans(),  # whether it was sent
    ),
    max_size=60,
)


@given(steps, st.integers(1, 100), st.integers(1, 8), st.integers(1, 4))
def test_nothing_goes_below_zero_or_over_the_limit(steps, tpm, rpm, concurrency):
    limiter, acme = Limiter(), scope(rpm=rpm, tpm=tpm, concurrency=concurrency)
    now, running = NOON, []
    for wait_s, tokens, part, ends, was_sent in steps:
        now += wait_s
        result = limiter.take([acme], tokens, now)
        if isinstance(result, Hold):
            running.append(result)
        if ends and running:
            hold = running.pop(0)
            limiter.release(hold, int(hold.tokens * part), was_sent=was_sent)
        meter = limiter._meters.get(("provider", "1"))
        if meter is None:
            continue
        assert 0 <= meter.in_flight == len(running) <= concurrency
        for rule in acme.limits.rules:
            window = meter.window(rule)
            assert window.current >= 0
            assert window.previous >= 0
            assert window.used(now) <= rule.limit + 1e-6


@pytest.mark.parametrize("bad", [101, 1000])
def test_never_goes_before_later(bad):
    busy, small = scope("provider", "1", rpm=1), scope("adapter", "2", tpm=100)
    limiter = Limiter()
    taken(limiter.take([busy], 1, NOON))

    assert refused(limiter.take([busy, small], bad, NOON)).wait_s is None
