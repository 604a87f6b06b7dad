"""Local engines through a live gateway: soft offload while one is slow or away, hard offload when the operator says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from tests.fakes.catalogue import Served, seed
from tests.fakes.provider import FakeProvider
from tests.journeys import rules
from tests.journeys.asking import Asker
from tests.live import Gateway, until


@pytest.fixture
def engine():
    with FakeProvider() as running:
        yield running


def catalogue(engine: FakeProvider, fake: FakeProvider) -> dict:
    ours = Served("ok", {"local": True}, base_url=engine.base_url("engine"))
    content = seed(fake, {"our/model": (ours, "ok"), "our/private": ours})
    for route in content["models"][0]["route"]:
        route["weight"] = 1  # Weight 0 would stand behind a full engine, too.
    return content


def decide(gateway: Gateway, code: str) -> None:
    """An operator's edit of routing, as admin makes it."""
    gateway.manage("shell", "-c", f"from routingapp.models import RoutingPolicy as Policy; {code}")


def test_traffic_spills_to_the_hosted_provider_while_the_engine_is_full_or_away(start_gateway, engine, fake, marker):
    engine.waiting = 0
    gateway = start_gateway(catalogue(engine, fake))
    routing = {"routing_strategy": "local_first", "health_check": {"interval": 1, "timeout": 0.5}}
    gateway.routing_path.write_text(yaml.safe_dump(routing))
    gateway.manage("loadmodels")
    ask = Asker(gateway, marker)

    def served_by(position: int) -> Callable[[], bool]:
        return lambda: ask.chat("our/model").json()["provider"] == f"Model {position}"

    def known_as(*, up: bool) -> Callable[[], bool]:
        return lambda: (gateway.client.get("/health").json()["checks"]["engines"]).get("our-model-1", {}).get("ok") is up

    until(known_as(up=True), "the engine has been probed")
    until(served_by(1), "the engine is up, so it serves")
    probe = next(call for call in engine.calls if call.path == "/engine/v1/models")
    assert probe.headers["authorization"] == f"Bearer {gateway.environment['FAKE_KEY']}"

    engine.waiting = 9
    reason = "9 requests wait in its queue, more than 4"

    def spilled() -> bool:
        ask.chat("our/model")
        plans = gateway.sql("SELECT plan FROM api_logs WHERE provider = 'our-model-2' AND user_id = ?", marker)
        return any(reason in row["plan"] for row in plans)

    until(spilled, "its queue has grown past the policy's limit, so traffic spills")
    assert served_by(2)()
    engine.waiting = 4
    until(served_by(1), "its queue is short again")

    engine.stop()
    until(known_as(up=False), "the engine is seen to be down")
    told = "does not answer its health check"
    until(lambda: told in ask.chat("our/private").text, "its engine, probed on its own, is seen to be down too")
    before = len(engine.calls)
    assert served_by(2)()
    assert ask.chat("our/private").status_code == 503
    assert len(engine.calls) == before
    with FakeProvider(engine.port):
        until(served_by(1), "the engine is back, so it serves again")


def test_hard_offload_leaves_engines_alone_until_the_switch_in_admin_says_otherwise(start_gateway, engine, fake, marker):
    gateway = start_gateway(catalogue(engine, fake), OFFLOAD="1")
    ask = Asker(gateway, marker)
    assert ask.chat("our/model").json()["provider"] == "Model 2"
    refusal = ask.chat("our/private")
    assert refusal.status_code == 503
    error = rules.is_error(refusal.json(), 503, "provider_unavailable")
    assert "local engines take no traffic while hard offload is on" in error["message"]
    assert engine.calls_with(marker) == []

    decide(gateway, "Policy.objects.update_or_create(model=None, defaults={'offload': 'off'})")
    until(lambda: ask.chat("our/private").status_code == 200, "the switch wins over OFFLOAD", 2)
    decide(gateway, "Policy.objects.filter(model=None).update(offload='on')")
    until(lambda: ask.chat("our/private").status_code == 503, "the switch is on", 2)
