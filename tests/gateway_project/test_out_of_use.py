"""An adapter, a provider or an engine that is switched off or removed is no trouble any more, wherever trouble is told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest
from django.test import RequestFactory
from prometheus_client import REGISTRY

from catalog.entries import ModelEntry
from completions import gauges, metrics, snapshot
from completions.runtime import Runtime
from gateway_project import views
from gateway_project.conditions import LASTING_S, Conditions
from gateway_project.console import process
from gateway_project.errors import ProviderUnavailable
from routingapp.keypool import Fault
from tests.gateway_project.conftest import PutInForce
from tests.routingapp.world import adapter, model, provider

ENGINE = provider("ours", 1, is_local=True)
HOSTED = provider("hosted", 2, api_keys=("${HOSTED_KEY}",))
LABELS = {"model": "acme/falcon", "provider": "hosted"}


def serving(**fields: Any) -> ModelEntry:
    """A model at an engine and at a hosted provider; `fields` of both adapters."""
    return model(adapter(ENGINE, 1, **fields), adapter(HOSTED, 2, **fields))


OUT_OF_USE = {
    "switched off": [serving(is_enabled=False)],
    "without what it needs": [serving(unconfigured="environment variable HOSTED_KEY is not set")],
    "removed": [],
}


@pytest.fixture
def troubled(put_in_force: PutInForce, monkeypatch) -> Runtime:
    """A process whose engine is down, and whose hosted provider is paused and refuses the key."""
    monkeypatch.setattr(metrics, "totals", metrics.Totals())
    monkeypatch.setattr(gauges, "_shown", {})
    running = put_in_force(serving())
    running.health.set_engine(ENGINE.id, is_up=False, detail="connection refused", now=0.0)
    now = time.monotonic()
    for _ in range(5):
        running.health.started(2, now)
        running.health.failed(2, now, ProviderUnavailable("boom"))
    running.pipeline.gate.capacity.pools.failed(HOSTED, 0, Fault.REFUSED, None, now, 0)
    return running


def told() -> dict[str, float | None]:
    """What the gauges say of the two."""
    gauges.sample()
    return {
        "engine": REGISTRY.get_sample_value("gateway_engine_up", {"provider": "ours"}),
        "breaker": REGISTRY.get_sample_value("gateway_breaker_state", LABELS),
        "refused": REGISTRY.get_sample_value("gateway_provider_keys_out", {"provider": "hosted", "reason": "refused"}),
    }


@pytest.mark.parametrize("models", OUT_OF_USE.values(), ids=OUT_OF_USE)
def test_its_gauges_end_and_come_back_with_it(troubled, put_in_force, models):
    assert told() == {"engine": 0, "breaker": 2, "refused": 1}
    put_in_force(*models)
    assert told() == {"engine": None, "breaker": None, "refused": None}
    put_in_force(serving())
    assert told() == {"engine": 0, "breaker": 2, "refused": 1}


def test_calls_that_are_still_under_way_are_counted_until_it_is_removed(troubled, put_in_force):
    troubled.health.started(2, 0.0)
    put_in_force(serving(is_enabled=False))
    gauges.sample()
    assert REGISTRY.get_sample_value("gateway_upstream_in_flight", LABELS) == 1
    put_in_force()
    gauges.sample()
    assert REGISTRY.get_sample_value("gateway_upstream_in_flight", LABELS) is None


@pytest.mark.parametrize("models", OUT_OF_USE.values(), ids=OUT_OF_USE)
def test_its_alerts_are_over(troubled, put_in_force, models):
    conditions, now = Conditions(), time.monotonic()
    conditions.look(now)
    troubled.health.failed(2, now + LASTING_S, ProviderUnavailable("boom"))
    assert conditions.look(now + LASTING_S).keys() == {"engine:ours", "breaker:acme/falcon:hosted"}
    put_in_force(*models)
    assert conditions.look(now + LASTING_S + 1) == {}


@pytest.mark.parametrize("models", OUT_OF_USE.values(), ids=OUT_OF_USE)
def test_health_does_not_speak_of_it(troubled, put_in_force, models):
    def engines() -> dict[str, object]:
        return orjson.loads(asyncio.run(views.health(RequestFactory().get("/health"))).content)["checks"]["engines"]

    assert engines() == {"ours": {"ok": False, "detail": "connection refused"}}
    put_in_force(*models)
    assert engines() == {}


@pytest.mark.parametrize("models", OUT_OF_USE.values(), ids=OUT_OF_USE)
def test_the_last_report_of_its_engine_is_forgotten(troubled, put_in_force, models):
    """Or else it would be down again, for a moment, when it is switched on."""

    async def follow() -> None:
        troubled.probes._follow(snapshot.current())
        await troubled.probes.stop()

    put_in_force(*models)
    asyncio.run(follow())
    assert troubled.health.engine(ENGINE.id) is None
    assert not troubled.health.has_engine_down()


@pytest.mark.parametrize("models", OUT_OF_USE.values(), ids=OUT_OF_USE)
def test_the_dashboard_counts_no_breaker_of_it(troubled, put_in_force, models):
    def paused() -> list[int]:
        here = process.look()
        assert here is not None
        return [one.adapter.id for one in here.paused]

    assert paused() == [2]
    put_in_force(*models)
    assert paused() == []
