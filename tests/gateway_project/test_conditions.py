"""What is found wrong: rates and events from totals, and breakers. Budgets and engines are told by a live gateway in `test_alerts`,
how long pauses must last is judged in `tests/deploy/test_pause_alerts.py`."""

from __future__ import annotations

import pytest

from accounting.record import Record
from completions import metrics
from completions.runtime import Runtime
from gateway_project import conditions, figures
from gateway_project.conditions import LATELY_S, LULL_S, Conditions
from gateway_project.errors import ProviderUnavailable
from gateway_project.figures import WINDOW_S, Figures
from tests.routingapp.world import adapter, model, provider


@pytest.fixture
def totals(monkeypatch) -> metrics.Totals:
    fresh = metrics.Totals()
    monkeypatch.setattr(metrics, "totals", fresh)
    return fresh


def test_all_is_well_where_nothing_runs_yet(totals):
    assert Conditions().look(now=100.0) == {}


def test_a_share_of_failures_is_found_and_passes_with_its_window(totals):
    mine = Conditions()
    mine.look(now=0.0)
    totals.requests, totals.failed = 40, 8
    assert mine.look(now=10.0) == {"errors": "8 of 40 requests of the last 5 minutes failed at a provider or here"}
    totals.requests += 100
    assert mine.look(now=20.0) == {}
    assert mine.look(now=21.0 + WINDOW_S) == {}


def test_few_requests_are_no_rate(totals):
    mine = Conditions()
    mine.look(now=0.0)
    totals.requests, totals.failed = 10, 10
    assert mine.look(now=10.0) == {}


def test_the_requests_of_all_workers_are_judged_together(totals):
    """Each worker alone has too few, and half of them did not fail at it."""
    other = Figures(requests=22, failed=13)
    mine = Conditions()
    mine.look(now=0.0)
    totals.requests, totals.failed = 18, 18
    found = mine.look(now=10.0, share=lambda own: [own, other])
    assert found == {"errors": "31 of 40 requests of the last 5 minutes failed at a provider or here"}


def test_slow_starts_of_all_workers_are_judged_together(totals):
    mine = Conditions()
    mine.look(now=0.0)
    totals.streams["acme/slow"], totals.slow_starts["acme/slow"] = 15, 1
    other = Figures(streams={"acme/slow": 15}, slow_starts={"acme/slow": 1})
    assert mine.look(now=10.0) == {}
    (told,) = mine.look(now=20.0, share=lambda own: [own, other]).values()
    assert told.startswith("acme/slow begins slowly: 2 of 30 streams")


def test_the_records_that_wait_are_those_of_all_workers():
    both = figures.together([Figures(waiting=3, oldest_s=20.0), Figures(waiting=3, oldest_s=90.0, reason="locked")])
    told = "6 request logs wait in the journal, the oldest for 90 s: locked"
    assert dict(conditions._journal(both)) == {"journal": told}
    assert dict(conditions._journal(Figures(waiting=3, oldest_s=20.0))) == {}


def test_what_failed_before_it_looked_is_past(totals):
    totals.requests = totals.failed = 1000
    assert Conditions().look(now=0.0) == {}


def test_a_refused_key_is_found_by_provider_and_forgotten_after_a_while(totals):
    mine = Conditions()
    mine.look(now=0.0)
    totals.refused_keys["acme"] += 1
    assert mine.look(now=1.0) == {"key:acme": "acme refuses the gateway's API key"}
    assert "key:acme" in mine.look(now=500.0)
    assert mine.look(now=1.0 + LATELY_S) == {}


def test_a_key_that_was_refused_before_the_first_look_is_told_too(totals):
    totals.refused_keys["acme"] += 1
    assert "key:acme" in Conditions().look(now=5.0)


def test_a_key_without_money_is_an_event_by_key(totals):
    record = Record("gen-1-x", 0.0, status_code=402, error_type="payment_required", error_domain="policy", api_key_id=7)
    metrics.observe(record)
    assert totals.spent_budgets == {7: 1}


def test_a_model_begins_slowly_where_one_stream_in_twenty_does(totals):
    mine = Conditions()
    totals.streams["acme/slow"], totals.slow_starts["acme/slow"] = 1000, 1000
    mine.look(now=0.0)
    totals.streams["acme/slow"] += 40
    totals.slow_starts["acme/slow"] += 2
    assert mine.look(now=10.0) == {}, "the 95th percentile is not above it"
    totals.slow_starts["acme/slow"] += 1
    told = "acme/slow begins slowly: 3 of 40 streams of the last 5 minutes had no first token within 5 s"
    assert mine.look(now=20.0) == {"slow:acme/slow": told}
    assert mine.look(now=21.0 + WINDOW_S) == {}


@pytest.mark.parametrize(("ttft_ms", "slow"), [(5000, 0), (5001, 1), (None, 0)])
def test_a_stream_is_slow_by_its_first_token(totals, ttft_ms, slow):
    metrics.observe(Record("gen-1-x", 0.0, status_code=200, stream=True, ttft_ms=ttft_ms, latency_ms=9000))
    assert totals.slow_starts.total() == slow
    assert totals.streams.total() == (ttft_ms is not None)


# --- Of a process that serves -----------------------------------------------------------------------------------------


def pause(running: Runtime, adapter_id: int, now: float) -> None:
    for _ in range(5):
        running.health.started(adapter_id, now)
        running.health.failed(adapter_id, now, ProviderUnavailable("boom"))


def test_an_adapter_that_is_still_paused_a_minute_after_its_first_pause_is_told_of(totals, put_in_force):
    running, conditions = put_in_force(model(adapter(provider("one", 1), 1))), Conditions()
    pause(running, 1, 0.0)
    assert conditions.look(now=1.0) == {}
    for now in (20.0, 50.0):
        pause(running, 1, now)
        assert conditions.look(now=now) == {}
    pause(running, 1, 61.0)
    told = "acme/falcon at One was paused again and again or for more than a minute: ProviderUnavailable: boom"
    assert conditions.look(now=61.0) == {"breaker:acme/falcon:one": told}
    assert conditions.look(now=61.0 + LULL_S + 200.0) == {}
