"""What one process knows of adapters and engines."""

from __future__ import annotations

import pytest

from gateway_project.errors import (
    ContextLengthExceeded,
    ProviderAuthFailed,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from routingapp.breaker import Answering, BreakerState, Paused
from routingapp.health import EngineView, Health, HealthView
from routingapp.measured import MAX_OUTCOMES, Percentiles

NOW = 1_000.0


def fail(health: Health, times: int, error: ProviderError, now: float = NOW, adapter_id: int = 1) -> None:
    for _ in range(times):
        health.started(adapter_id, now)
        health.failed(adapter_id, now, error)


def test_nothing_is_known_of_a_new_adapter():
    assert Health().view(7, NOW) == HealthView(7)
    assert not Health().is_open(7, NOW)


def test_in_flight_goes_up_and_down_however_a_call_ends():
    health = Health()
    for _ in range(4):
        health.started(1, NOW)
    assert health.in_flight(1) == 4

    health.succeeded(1, NOW, 0.1, 1.0, 10)
    health.failed(1, NOW, ProviderUnavailable("boom"))
    health.released(1)
    assert health.in_flight(1) == 1


def test_percentiles_are_of_values_that_were_measured():
    health = Health()
    for tenth in range(1, 102):
        health.started(1, NOW)
        health.succeeded(1, NOW, tenth / 10, tenth / 10 + 2, 100)
    measured = health.view(1, NOW).measured

    assert measured.ttft_s == Percentiles(5.1, 7.6, 9.1, 9.6, 10.0)
    assert measured.latency_s is not None
    assert measured.latency_s.p50 == pytest.approx(7.1)
    assert measured.throughput_tps is not None
    assert measured.throughput_tps.p50 == pytest.approx(50)
    assert measured.calls == 101


def test_an_answer_that_was_not_streamed_has_no_time_to_first_token():
    health = Health()
    health.started(1, NOW)
    health.succeeded(1, NOW, None, 2.0, 100)
    measured = health.measured(1, NOW)

    assert measured.ttft_s is None
    assert measured.throughput_tps == Percentiles(50, 50, 50, 50, 50)


def test_measurements_expire_after_five_minutes():
    health = Health()
    health.started(1, NOW)
    health.succeeded(1, NOW, 0.5, 1.0, 10)

    assert health.measured(1, NOW + 299).calls == 1
    assert health.measured(1, NOW + 301).calls == 0
    assert health.measured(1, NOW + 301).ttft_s is None


def test_percentiles_are_at_most_a_second_old():
    health = Health()
    for ttft_s, now in ((1.0, NOW), (3.0, NOW + 0.5)):
        health.started(1, now)
        health.succeeded(1, now, ttft_s, 5.0, 10)
        health.measured(1, now)

    assert health.measured(1, NOW + 0.9).calls == 1
    assert health.measured(1, NOW + 1.0).calls == 2


def test_memory_is_bounded():
    health = Health()
    for _ in range(3 * MAX_OUTCOMES):
        health.started(1, NOW)
        health.succeeded(1, NOW, 0.1, 1.0, 10)

    assert health.measured(1, NOW).calls == MAX_OUTCOMES


@pytest.mark.parametrize("error", [ProviderUnavailable("boom"), ProviderTimeout("slow"), ProviderRateLimited("busy")])
def test_a_providers_faults_open_the_breaker(error: ProviderError):
    health = Health()
    fail(health, 5, error)
    view = health.view(1, NOW)

    assert health.is_open(1, NOW)
    assert view.state is BreakerState.OPEN
    assert view.retry_in_s == 10
    assert view.last_error == f"{type(error).__name__}: {error.message}"
    assert view.last_fault_at == NOW
    assert view.fault_share == 1


@pytest.mark.parametrize(
    "error", [ProviderRejected("bad field"), ContextLengthExceeded("too long"), ProviderAuthFailed("bad key")]
)
def test_a_callers_mistakes_never_open_it(error: ProviderError):
    health = Health()
    fail(health, 100, error)

    assert not health.is_open(1, NOW)
    assert health.view(1, NOW).measured.faults == 0
    assert health.view(1, NOW).last_error == f"{type(error).__name__}: {error.message}"


def test_a_429_with_retry_after_pauses_at_once():
    health = Health()
    fail(health, 1, ProviderRateLimited("busy", retry_after_s=30))

    assert health.is_open(1, NOW + 29)
    assert not health.is_open(1, NOW + 30)


def test_only_a_429_may_set_the_pause():
    health = Health()
    fail(health, 1, ProviderUnavailable("boom", retry_after_s=30))

    assert not health.is_open(1, NOW)


def test_the_first_content_of_a_probe_closes_the_breaker():
    health = Health()
    fail(health, 5, ProviderUnavailable("boom"))
    health.started(1, NOW + 10)
    assert health.is_open(1, NOW + 11)

    health.answered(1, NOW + 11)
    assert not health.is_open(1, NOW + 11)
    assert not health.has_tripped()
    assert health.in_flight(1) == 1


def test_a_probe_whose_caller_left_is_followed_by_another():
    health = Health()
    fail(health, 5, ProviderUnavailable("boom"))
    health.started(1, NOW + 10)
    health.released(1)

    assert not health.is_open(1, NOW + 10)


def test_a_success_after_the_pause_closes_the_breaker():
    health = Health()
    fail(health, 5, ProviderUnavailable("boom"))
    health.started(1, NOW + 10)
    health.succeeded(1, NOW + 11, 0.1, 1.0, 10)

    assert health.view(1, NOW + 11).state is BreakerState.CLOSED
    assert not health.has_tripped()


def test_one_adapters_faults_leave_the_others_alone():
    health = Health()
    fail(health, 5, ProviderUnavailable("boom"), adapter_id=1)

    assert health.is_open(1, NOW)
    assert not health.is_open(2, NOW)


def test_the_last_report_of_an_engine_is_kept():
    health = Health()
    assert health.engine(3) is None

    health.set_engine(3, is_up=False, detail="connection refused", now=NOW)
    assert health.has_engine_down()
    health.set_engine(3, is_up=True, detail="ready", now=NOW + 1, waiting=2)
    assert health.engine(3) == EngineView(True, "ready", NOW + 1, 2)
    assert not health.has_engine_down()


def test_what_the_catalogue_no_longer_has_is_forgotten_unless_a_call_is_under_way():
    health = Health()
    for adapter_id in (1, 2, 3):
        fail(health, 5, ProviderUnavailable("boom"), adapter_id=adapter_id)
    health.started(2, NOW)
    health.set_engine(8, is_up=True, detail="", now=NOW)
    health.forget_others({3}, set())

    assert health.view(1, NOW) == HealthView(1)
    assert not health.is_open(1, NOW)
    assert health.in_flight(2) == 1
    assert health.is_open(3, NOW)
    assert health.engine(8) is None


# --- what other processes say -----------------------------------------------------------------------------------------


def test_a_pause_and_its_end_are_told_once():
    health, told = Health(), list[Paused | Answering]()
    health.tell = told.append
    fail(health, 8, ProviderUnavailable("boom"))
    assert told == [Paused(1, 10, False, "ProviderUnavailable: boom")]

    health.started(1, NOW + 10)
    health.answered(1, NOW + 11)
    health.succeeded(1, NOW + 12)
    assert told[1:] == [Answering(1)]


def test_a_burst_of_limits_is_told_once():
    health, told = Health(), list[Paused | Answering]()
    health.tell = told.append
    for tenth in range(5):
        fail(health, 1, ProviderRateLimited("slow down", retry_after_s=30), NOW + tenth / 10)

    assert told == [Paused(1, 30, True, "ProviderRateLimited: slow down")]


def test_calls_that_succeed_and_callers_mistakes_are_not_told():
    health, told = Health(), list[Paused | Answering]()
    health.tell = told.append
    fail(health, 8, ProviderRejected("bad"))
    health.started(1, NOW)
    health.succeeded(1, NOW)

    assert told == []


def test_an_adapter_that_another_process_has_paused_is_left_alone_and_says_why():
    health = Health()
    health.hear(Paused(1, 8, False, "ProviderUnavailable: boom"), NOW)

    assert health.has_tripped()
    assert health.is_open(1, NOW + 7)
    assert health.view(1, NOW).last_error == "ProviderUnavailable: boom (seen by another process)"

    health.hear(Answering(1), NOW + 5)
    assert not health.has_tripped()
    assert not health.is_open(1, NOW + 5)


def test_what_is_heard_is_not_told_on():
    health, told = Health(), list[Paused | Answering]()
    health.tell = told.append
    health.hear(Paused(1, 8, False, "boom"), NOW)
    health.hear(Answering(1), NOW + 5)

    assert told == []


def test_an_adapter_that_answers_here_is_not_taken_away_by_hearsay():
    health = Health()
    health.started(1, NOW)
    health.succeeded(1, NOW)
    health.hear(Paused(1, 8, False, "boom"), NOW + 1)
    assert not health.is_open(1, NOW + 1)

    fail(health, 1, ProviderUnavailable("boom"), NOW + 2)
    assert health.is_open(1, NOW + 2)
