"""When pauses of an adapter become an alert: by Prometheus' rule and by the webhook, over an hour of a breaker's life."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser
import pytest
import yaml

from accounting.keys import KeyRing
from catalog.entries import Catalogue
from completions.gauges import STATES
from completions.snapshot import Snapshot
from gateway_project.alerts import LOOK_EVERY_S
from gateway_project.conditions import Pauses
from gateway_project.errors import ProviderUnavailable
from routingapp.entries import RoutingTable
from routingapp.health import Health
from tests.live import ROOT
from tests.routingapp.world import adapter, model, provider

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
RULE = next(rule for rule in RULES if rule["alert"] == "GatewayBreakerOpen")
SCRAPED = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]
ENTRY = adapter(provider("one", 1), 1)
SNAPSHOT = Snapshot(Catalogue.of([model(ENTRY)]), RoutingTable(), KeyRing())
MINUTE, HOUR = 60, 3600


@dataclass(frozen=True)
class Life:
    """The adapter is asked every `every_s` seconds until `asked_until_s`; its provider is dead in the seconds of `is_dead`."""

    every_s: int
    is_dead: Callable[[int], bool] = lambda now: True
    asked_until_s: int = HOUR

    def seconds(self) -> Iterator[tuple[int, Health]]:
        """The adapter's health at each second of an hour."""
        health = Health()
        for now in range(HOUR):
            if now % self.every_s == 0 and now < self.asked_until_s and not health.is_open(ENTRY.id, now):
                health.started(ENTRY.id, now)
                if self.is_dead(now):
                    health.failed(ENTRY.id, now, ProviderUnavailable("boom"))
                else:
                    health.succeeded(ENTRY.id, now)
            yield now, health


def by_prometheus(life: Life) -> list[int]:
    """The seconds at which the shipped rule fires: the worst state of its range was 2 at every evaluation of its `for`."""
    comparison: Any = promql_parser.parse(RULE["expr"])
    worst = comparison.lhs.expr
    (series,) = worst.args
    assert (worst.func.name, series.vector_selector.name) == ("max_over_time", "gateway_breaker_state")
    window_s, for_s = series.range.total_seconds(), seconds(RULE["for"])
    step_s = seconds(SCRAPED["scrape_interval"])
    scraped: list[tuple[int, int]] = []
    active_since: int | None = None
    firing = []
    for now, health in life.seconds():
        if now % step_s:
            continue
        scraped.append((now, STATES[health.breaker(ENTRY.id, now)[0]]))
        if max(state for at, state in scraped if now - at <= window_s) != comparison.rhs.val:
            active_since = None
        else:
            active_since = now if active_since is None else active_since
            if now - active_since >= for_s:
                firing.append(now)
    return firing


def by_webhook(life: Life) -> list[int]:
    """The seconds at which the webhook's condition holds."""
    pauses = Pauses()
    return [now for now, health in life.seconds() if now % LOOK_EVERY_S == 0 and dict(pauses.of(health, SNAPSHOT, now))]


def seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": MINUTE}[duration[-1]]


Judge = Callable[[Life], list[int]]
both = pytest.mark.parametrize("alerts", [by_prometheus, by_webhook])


@both
@pytest.mark.parametrize("every_s", [1, 20, MINUTE, 4 * MINUTE])
def test_a_dead_provider_is_told_of_and_stays_told_at_any_traffic(alerts: Judge, every_s):
    """Four minutes between two requests: it is half open for half of the time, and longer at first."""
    firing = alerts(Life(every_s))
    opened_s = 4 * every_s
    assert opened_s < firing[0] <= opened_s + 4 * MINUTE + 7 * MINUTE
    step_s = firing[1] - firing[0]
    assert firing == list(range(firing[0], HOUR, step_s))


@both
def test_one_short_pause_is_no_alert(alerts: Judge):
    assert alerts(Life(1, lambda now: 600 <= now < 608)) == []


@both
def test_a_breaker_that_stays_half_open_because_nobody_calls_is_no_alert(alerts: Judge):
    assert alerts(Life(1, asked_until_s=5)) == []


@both
@pytest.mark.parametrize("asked_until_s", [20 * MINUTE, HOUR], ids=["nobody calls any more", "it answers again"])
def test_it_is_over_soon_after_the_last_pause(alerts: Judge, asked_until_s):
    firing = alerts(Life(5, lambda now: now < 20 * MINUTE, asked_until_s))
    assert 20 * MINUTE <= firing[-1] <= 20 * MINUTE + 2 * MINUTE + 5 * MINUTE


@both
def test_an_adapter_that_is_paused_time_and_again_is_told_of_although_it_answers_in_between(alerts: Judge):
    firing = alerts(Life(1, lambda now: now % 97 < 10))
    assert firing[0] < 10 * MINUTE
    assert firing[-1] > HOUR - MINUTE
