"""When a breaker opens, how long it stays so, and who gets to probe."""

from __future__ import annotations

import pytest

from routingapp.breaker import Breaker, BreakerRules, BreakerState

RULES = BreakerRules(
    faults_in_a_row=3, fault_share=0.5, window_s=60, min_calls=10, pause_s=10, max_pause_s=30, probe_timeout_s=60
)
NOW = 1_000.0


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(RULES)


def opened(breaker: Breaker) -> Breaker:
    for _ in range(RULES.faults_in_a_row):
        breaker.faulted(NOW)
    return breaker


def test_it_opens_after_faults_in_a_row(breaker: Breaker):
    breaker.faulted(NOW)
    breaker.faulted(NOW)
    assert not breaker.is_open(NOW)

    breaker.faulted(NOW)
    assert breaker.is_open(NOW)
    assert breaker.state(NOW) is BreakerState.OPEN
    assert breaker.retry_in_s(NOW) == 10


def test_a_success_in_between_starts_the_row_anew(breaker: Breaker):
    for _ in range(3):
        breaker.faulted(NOW)
        breaker.faulted(NOW)
        breaker.succeeded(NOW)

    assert not breaker.is_open(NOW)


def test_it_opens_on_the_share_of_faults_once_there_are_enough_calls(breaker: Breaker):
    for call in range(4):
        breaker.faulted(NOW + call)
        breaker.succeeded(NOW + call)
    assert not breaker.is_open(NOW + 4)

    breaker.succeeded(NOW + 4)
    breaker.faulted(NOW + 4)
    assert breaker.is_open(NOW + 4)


def test_faults_older_than_the_window_do_not_count(breaker: Breaker):
    for _ in range(4):
        breaker.faulted(NOW)
        breaker.succeeded(NOW)
    breaker.succeeded(NOW + 70)
    breaker.faulted(NOW + 70)

    assert not breaker.is_open(NOW + 70)


def test_after_the_pause_exactly_one_probe_is_let_through(breaker: Breaker):
    opened(breaker)
    assert breaker.is_open(NOW + 9.9)
    assert not breaker.is_open(NOW + 10)
    assert breaker.state(NOW + 10) is BreakerState.HALF_OPEN

    breaker.started(NOW + 10)
    assert breaker.is_open(NOW + 10)
    assert breaker.retry_in_s(NOW + 11) == 59


def test_the_probes_success_closes_it(breaker: Breaker):
    opened(breaker).started(NOW + 10)
    breaker.succeeded(NOW + 12)

    assert breaker.state(NOW + 12) is BreakerState.CLOSED
    breaker.faulted(NOW + 13)
    assert not breaker.is_open(NOW + 13)


def test_each_failed_probe_doubles_the_pause_up_to_its_limit(breaker: Breaker):
    opened(breaker)
    now, pauses = NOW + 10, []
    for _ in range(3):
        breaker.started(now)
        breaker.faulted(now)
        pauses.append(breaker.retry_in_s(now))
        now += pauses[-1]
    assert pauses == [20, 30, 30]

    breaker.started(now)
    breaker.succeeded(now)
    for _ in range(3):
        breaker.faulted(now)
    assert breaker.retry_in_s(now) == 10


def test_a_probe_without_verdict_leaves_the_place_to_the_next(breaker: Breaker):
    opened(breaker).started(NOW + 10)
    breaker.released()

    assert not breaker.is_open(NOW + 10)


def test_a_probe_that_never_ends_does_not_keep_it_shut_for_ever(breaker: Breaker):
    opened(breaker).started(NOW + 10)

    assert breaker.is_open(NOW + 69)
    assert not breaker.is_open(NOW + 70)


def test_a_late_answer_of_an_earlier_call_does_not_end_the_pause(breaker: Breaker):
    opened(breaker).succeeded(NOW + 1)

    assert breaker.is_open(NOW + 1)


def test_late_faults_of_earlier_calls_do_not_prolong_the_pause(breaker: Breaker):
    opened(breaker)
    for _ in range(20):
        breaker.faulted(NOW + 5)

    assert breaker.retry_in_s(NOW + 5) == 5


def test_the_provider_sets_the_pause_it_asks_for(breaker: Breaker):
    breaker.faulted(NOW, retry_after_s=42)
    assert breaker.is_open(NOW + 41.9)
    assert not breaker.is_open(NOW + 42)
    assert breaker.is_asked

    breaker.faulted(NOW + 42, retry_after_s=1e9)
    assert breaker.retry_in_s(NOW + 42) == RULES.max_retry_after_s


def test_a_shorter_retry_after_does_not_cut_a_pause(breaker: Breaker):
    opened(breaker).faulted(NOW, retry_after_s=1)

    assert breaker.retry_in_s(NOW) == 10
    assert not breaker.is_asked


def test_a_longer_one_does_and_ends_with_the_pause(breaker: Breaker):
    opened(breaker).faulted(NOW, retry_after_s=60)
    assert breaker.is_asked

    breaker.started(NOW + 60)
    breaker.succeeded(NOW + 61)
    assert not breaker.is_asked


# --- what other processes say -----------------------------------------------------------------------------------------


def test_a_pause_of_another_process_is_believed_for_one_first_pause(breaker: Breaker):
    breaker.hear_pause(NOW, 30, is_asked=False, last_success_at=None)

    assert breaker.state(NOW + 9.9) is BreakerState.OPEN
    assert breaker.state(NOW + 10) is BreakerState.HALF_OPEN


def test_a_pause_that_the_provider_asked_another_process_for_is_kept_in_full(breaker: Breaker):
    breaker.hear_pause(NOW, 42, is_asked=True, last_success_at=NOW)

    assert breaker.is_open(NOW + 41.9)
    assert not breaker.is_open(NOW + 42)


def test_who_has_just_been_answered_opens_at_the_first_fault_instead(breaker: Breaker):
    breaker.hear_pause(NOW, 30, is_asked=False, last_success_at=NOW - 1)
    assert not breaker.is_open(NOW)

    breaker.succeeded(NOW + 1)
    breaker.faulted(NOW + 2)
    assert breaker.retry_in_s(NOW + 2) == 10


def test_a_suspicion_ends_with_the_pause_it_came_from(breaker: Breaker):
    breaker.hear_pause(NOW, 5, is_asked=False, last_success_at=NOW - 1)
    breaker.faulted(NOW + 6)

    assert not breaker.is_open(NOW + 6)


def test_another_processs_answer_ends_what_is_hearsay(breaker: Breaker):
    breaker.hear_pause(NOW, 10, is_asked=False, last_success_at=None)
    breaker.hear_answer(NOW + 1)

    assert breaker.state(NOW + 1) is BreakerState.CLOSED


def test_another_processs_answer_does_not_end_a_pause_with_reasons_of_its_own(breaker: Breaker):
    opened(breaker)
    breaker.hear_pause(NOW, 10, is_asked=False, last_success_at=None)
    breaker.hear_answer(NOW + 1)
    assert breaker.is_open(NOW + 1)


def test_a_probe_after_hearsay_that_fails_is_a_reason_of_its_own(breaker: Breaker):
    breaker.hear_pause(NOW, 10, is_asked=False, last_success_at=None)
    breaker.started(NOW + 10)
    breaker.faulted(NOW + 11)
    breaker.hear_answer(NOW + 12)

    assert breaker.retry_in_s(NOW + 12) == 19
