"""Each strategy by itself: whom it puts first, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from catalog.entries import Prices
from gateway_project.errors import ProviderUnavailable
from routingapp import strategies
from routingapp.entries import PolicyEntry
from tests.routingapp.world import NOW, World, serve


def firsts(world: World, plans: int = 10_000) -> dict[str, float]:
    """How often each provider comes first."""
    counted = Counter(world.slugs()[0] for _ in range(plans))
    return {slug: count / plans for slug, count in counted.items()}


def priced(usd_per_million: float) -> dict[str, Prices]:
    price = f"{usd_per_million / 1e6:.12f}"
    return {"prices": Prices.parse({"prompt": price, "completion": price})}


def measure(world: World, adapter_id: int, ttft_s: float, tokens_per_s: int, at: float = NOW) -> None:
    world.health.started(adapter_id, at)
    world.health.succeeded(adapter_id, at, ttft_s, ttft_s + 1, tokens_per_s)


def fail(world: World, adapter_id: int, at: float) -> None:
    world.health.started(adapter_id, at)
    world.health.failed(adapter_id, at, ProviderUnavailable("boom"))


def test_the_guide_names_every_strategy():
    guide = Path(strategies.__file__).parent.with_name("README.md").read_text()

    assert [name for name in strategies.STRATEGIES if f"| `{name}`" not in guide] == []


# --- weighted -----------------------------------------------------------------------------------------------------------


def test_the_local_fraction_splits_between_local_engines_and_the_rest():
    world = serve("a_local", "b_local", "c", "d")
    world.weights = {1: 1, 2: 1, 3: 30, 4: 10}
    world.policy = PolicyEntry(local_fraction=0.8)
    shares = {c.adapter.provider.slug: c.share for c in world.plan().candidates}

    assert shares == pytest.approx({"a_local": 0.4, "b_local": 0.4, "c": 0.15, "d": 0.05})
    measured = firsts(world, 5_000)
    assert measured["a_local"] + measured["b_local"] == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("fraction", "first"), [(1, "a_local"), (0, "b")])
def test_a_local_fraction_of_all_or_nothing_leaves_the_others_standing_by(fraction: float, first: str):
    world = serve("a_local", "b")
    world.policy = PolicyEntry(local_fraction=fraction)

    assert firsts(world, 50) == {first: 1}


def test_where_only_one_group_is_left_it_gets_everything():
    world = serve("b", "c")
    world.policy = PolicyEntry(local_fraction=0.9)

    assert [c.share for c in world.plan().candidates] == [0.5, 0.5]


def test_fallbacks_are_drawn_by_the_weights_of_the_rest():
    world = serve("a", "b", "c")
    world.weights = {1: 1e9, 2: 3, 3: 1}
    seconds = Counter(world.slugs()[1] for _ in range(4_000))

    assert seconds["b"] / 4_000 == pytest.approx(0.75, abs=0.03)


# --- local_first --------------------------------------------------------------------------------------------------------


def local_first() -> World:
    world = serve("a_local", "b", "c")
    world.weights = {1: 0.01, 2: 3, 3: 1}
    world.policy = PolicyEntry(strategy="local_first", local_max_in_flight=2, local_max_waiting=1, local_max_ttft_s=1)
    return world


def test_a_local_engine_that_keeps_up_comes_first_whatever_its_weight():
    assert firsts(local_first(), 50) == {"a_local": 1}


def test_too_many_in_flight_spill_to_hosted_adapters_by_weight():
    world = local_first()
    for _ in range(2):
        world.health.started(1, NOW)
    shares = firsts(world, 4_000)

    assert shares == {"b": pytest.approx(0.75, abs=0.03), "c": pytest.approx(0.25, abs=0.03)}
    assert world.plan().candidates[-1].reason == "local, but saturated: 2 requests in flight, of at most 2"


def test_a_long_queue_in_the_engine_spills():
    world = local_first()
    world.health.set_engine(1, is_up=True, detail="", now=NOW, waiting=1)
    assert world.slugs()[0] == "a_local"

    world.health.set_engine(1, is_up=True, detail="", now=NOW, waiting=2)
    assert world.slugs()[-1] == "a_local"


def test_a_late_first_token_spills_until_it_is_time_to_look_again():
    world = local_first()
    measure(world, 1, ttft_s=3, tokens_per_s=10)

    assert world.slugs(now=NOW + 1)[-1] == "a_local"
    assert world.slugs(now=NOW + 15)[0] == "a_local"


def test_a_paused_local_engine_leaves_everything_to_hosted_adapters():
    world = local_first()
    for _ in range(5):
        fail(world, 1, NOW)

    assert "a_local" not in world.slugs()


def test_a_local_engine_of_weight_zero_stands_by():
    world = local_first()
    world.weights[1] = 0

    assert world.slugs()[-1] == "a_local"


# --- price --------------------------------------------------------------------------------------------------------------


def test_the_cheapest_comes_first_and_equals_share_by_weight():
    world = serve("dear", "cheap", "as_cheap", dear=priced(5), cheap=priced(1), as_cheap=priced(1))
    world.policy = PolicyEntry(strategy="price")
    world.weights = {1: 100, 2: 3, 3: 1}
    shares = firsts(world, 4_000)

    assert shares == {"cheap": pytest.approx(0.75, abs=0.03), "as_cheap": pytest.approx(0.25, abs=0.03)}
    assert {c.adapter.provider.slug: c.share for c in world.plan().candidates} == {
        "cheap": 0.75,
        "as_cheap": 0.25,
        "dear": 0,
    }


def test_a_price_per_request_counts():
    flat = {"prices": Prices.parse({"request": "0.5"})}
    world = serve("flat", "dear", flat=flat, dear=priced(5))
    world.policy = PolicyEntry(strategy="price")

    assert world.slugs() == ["dear", "flat"]


# --- latency, throughput, exacto ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strategy", "order"), [("latency", ["b", "c", "a"]), ("throughput", ["a", "c", "b"])])
def test_speed_is_what_was_measured(strategy: str, order: list[str]):
    world = serve("a", "b", "c")
    world.policy = PolicyEntry(strategy=strategy)
    for adapter_id, ttft_s, tokens_per_s in ((1, 0.9, 90), (2, 0.1, 10), (3, 0.5, 50)):
        measure(world, adapter_id, ttft_s, tokens_per_s)

    assert world.slugs() == order


def test_what_is_unknown_is_explored_by_one_request_at_a_time():
    world = serve("known", "unknown")
    world.policy = PolicyEntry(strategy="latency")
    measure(world, 1, 0.1, 100)
    assert world.slugs() == ["unknown", "known"]

    world.health.started(2, NOW)
    assert world.slugs() == ["known", "unknown"]

    world.health.succeeded(2, NOW, 5.0, 6.0, 10)
    assert world.slugs(now=NOW + 2) == ["known", "unknown"]


def test_what_fails_just_now_is_not_explored():
    world = serve("known", "failing")
    world.policy = PolicyEntry(strategy="throughput")
    measure(world, 1, 0.1, 100)
    fail(world, 2, NOW)

    assert world.slugs(now=NOW + 29) == ["known", "failing"]
    assert world.slugs(now=NOW + 31) == ["failing", "known"]


def test_only_one_of_several_unknown_is_explored_at_once():
    world = serve("known", "x", "y")
    world.policy = PolicyEntry(strategy="latency")
    measure(world, 1, 0.1, 100)
    order = world.slugs()

    assert order[0] in ("x", "y")
    assert order[1] == "known"


def test_exacto_prefers_few_faults_to_speed():
    world = serve("fast", "solid", "slow")
    world.policy = PolicyEntry(strategy="exacto")
    for adapter_id, tokens_per_s in ((1, 500), (2, 50), (3, 10)):
        measure(world, adapter_id, 0.1, tokens_per_s)
    fail(world, 1, NOW)

    assert world.slugs(now=NOW + 2) == ["solid", "slow", "fast"]


# --- balanced -----------------------------------------------------------------------------------------------------------


def test_a_third_of_the_price_is_nine_times_as_likely_and_an_outage_goes_last():
    """The example of OpenRouter's documentation: A at $1, B at $2 with an outage just now, C at $3."""
    world = serve("a", "b", "c", a=priced(1), b=priced(2), c=priced(3))
    world.policy = PolicyEntry(strategy="balanced")
    fail(world, 2, NOW - 10)
    shares = firsts(world)

    assert shares == {"a": pytest.approx(0.9, abs=0.015), "c": pytest.approx(0.1, abs=0.015)}
    assert world.slugs()[-1] == "b"


def test_an_outage_is_forgotten_after_half_a_minute():
    world = serve("a", "b", a=priced(1), b=priced(1))
    world.policy = PolicyEntry(strategy="balanced")
    fail(world, 1, NOW - 30)

    assert [c.share for c in world.plan().candidates] == [0.5, 0.5]


def test_free_adapters_come_before_all_that_cost_something():
    world = serve("dear", "free_local", dear=priced(1), free_local=priced(0))
    world.policy = PolicyEntry(strategy="balanced")

    assert firsts(world, 50) == {"free_local": 1}


# --- least_busy ---------------------------------------------------------------------------------------------------------


def test_the_fewest_in_flight_per_weight_come_first():
    world = serve("a", "b", "c")
    world.policy = PolicyEntry(strategy="least_busy")
    world.weights = {1: 4, 2: 1, 3: 1}
    for adapter_id, calls in ((1, 3), (2, 1), (3, 2)):
        for _ in range(calls):
            world.health.started(adapter_id, NOW)

    assert world.slugs() == ["a", "b", "c"]
