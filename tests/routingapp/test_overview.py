"""What `/routing` tells: the planner's own shares right now, and what has been seen of each adapter."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import orjson
import pytest

from catalog.limits import Limits
from gateway_project.errors import ModelNotFound, ProviderUnavailable
from routingapp.capacity import Capacity
from routingapp.entries import PolicyEntry, RoutingTable
from routingapp.keypool import Fault
from routingapp.overview import engines, overview
from tests.routingapp.world import NOW, World, adapter, model, provider, serve


def seen(world: World, **more: Any) -> dict[str, dict[str, Any]]:
    """The adapters of the only model by their provider."""
    table = RoutingTable(MappingProxyType(world.weights), default_policy=world.policy)
    (model,) = overview(world.catalogue, table, world.health, now=NOW, **more)
    orjson.dumps(model)
    return {adapter["provider"]: adapter for adapter in model["adapters"]}


def test_shares_are_of_what_the_filters_leave_right_now():
    world = serve("acme", "bolt", "corp")
    world.weights = {1: 3.0, 2: 1.0, 3: 0.0}
    shares = {name: adapter["share"] for name, adapter in seen(world).items()}
    assert shares == {"acme": 0.75, "bolt": 0.25, "corp": 0.0}

    for _ in range(5):
        world.health.started(1, NOW)
        world.health.failed(1, NOW, ProviderUnavailable("down"))
    adapters = seen(world)
    assert {name: adapter["share"] for name, adapter in adapters.items()} == {"acme": 0.0, "bolt": 1.0, "corp": 0.0}
    paused = adapters["acme"]
    assert (paused["breaker"], paused["retry_in_s"], paused["left_out"]) == ("open", 10.0, "breaker_open")
    assert (paused["last_error"], paused["faults"], paused["weight"]) == ("ProviderUnavailable: down", 5, 3.0)


def test_a_model_that_nothing_can_serve_says_why_of_each_adapter():
    world = serve("our-local", "spare-local")
    world.policy = PolicyEntry(is_offloaded=True)
    assert {adapter["left_out"] for adapter in seen(world).values()} == {"offloaded"}


def test_speeds_and_calls_under_way_are_told():
    world = serve("acme")
    for _ in range(2):
        world.health.started(1, NOW)
    world.health.succeeded(1, NOW, ttft_s=0.25, latency_s=1.25, tokens=50)
    acme = seen(world)["acme"]
    assert (acme["in_flight"], acme["calls"], acme["faults"]) == (1, 1, 0)
    assert (acme["ttft_s"]["p95"], acme["latency_s"]["p50"], acme["tokens_per_s"]["p99"]) == (0.25, 1.25, 50.0)


def test_engines_tell_their_last_probe():
    world = serve("our-local", "acme")
    world.health.set_engine(1, is_up=True, detail="answered 200", now=NOW - 3, waiting=2, running=7)
    assert engines(world.catalogue, world.health, now=NOW) == {
        "our-local": {"is_up": True, "detail": "answered 200", "waiting": 2, "running": 7, "probed_s_ago": 3.0}
    }


def test_one_model_can_be_asked_for_by_name():
    world = serve("acme")
    assert list(seen(world, only="Acme/Falcon")) == ["acme"]
    with pytest.raises(ModelNotFound, match="acme/fulcon"):
        seen(world, only="acme/fulcon")


def test_limits_tell_what_is_used_of_them_and_keys_which_are_out():
    limited = provider("acme", 1, limits=Limits(rpm=10, concurrency=3), api_keys=("${A}", "${B}"))
    world = World(model(adapter(limited, 1, limits=Limits(tpm=500))))
    capacity = Capacity(lambda: 0.0)
    capacity.limiter.take(capacity.scopes_of(world.catalogue.models[0].adapters[0]), 120, NOW)
    capacity.pools.failed(limited, 1, Fault.RATE_LIMITED, 60, NOW, 0)

    acme = seen(world, capacity=capacity)["acme"]

    assert acme["limits"] == [
        {"kind": "provider", "name": "rpm", "used": 1, "limit": 10},
        {"kind": "provider", "name": "concurrency", "used": 1, "limit": 3},
        {"kind": "adapter", "name": "tpm", "used": 120, "limit": 500},
    ]
    assert acme["keys"] == {"all": 2, "rate_limited": 1, "refused": 0}
