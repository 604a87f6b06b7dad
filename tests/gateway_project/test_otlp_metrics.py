"""Metrics as a collector receives them: two workers of a gateway send OTLP over HTTP to a server in this process."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from completions import otlp_metrics
from tests.fakes.catalogue import REFUSED, provider_slug, seed
from tests.gateway_project.otlp_collector import Collector
from tests.live import Gateway, until

REQUESTS = 6


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory, fake, migrated_database, collector) -> Collector:
    """The collector after some traffic and the end of the gateway, which sends what is left."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
    }
    models = {"o/ok": "ok?tokens=8&cached=5&thinking=3", "o/second": (REFUSED, "ok"), "o/dead": "status?code=500",
              "o/unsaid": "no-usage", "o/thoughtful": "ok?tokens=6&delay=0.05&thinking=2000"}  # fmt: skip
    directory = tmp_path_factory.mktemp("metered")
    options = ("--workers", "2")
    gateway = Gateway(directory, seed(fake, models), environment, database=migrated_database, options=options)
    with gateway:
        for _ in range(REQUESTS):
            assert ask(gateway, "o/ok", stream=True) == 200
        assert ask(gateway, "o/ok") == 200
        assert ask(gateway, "o/thoughtful", stream=True) == 200
        assert ask(gateway, "o/second") == 200
        assert ask(gateway, "o/unsaid") == 200
        assert ask(gateway, "o/dead") == 502
        assert ask(gateway, "o/of-a-stranger") == 404
        assert gateway.terminate() in (0, -15)
        assert "Traceback" not in gateway.log, gateway.log
    until(lambda: collector.histogram("gen_ai.server.request.duration")[0] >= REQUESTS + 6, "both workers have sent all")
    return collector


def ask(gateway: Gateway, model: str, **more: Any) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "one two"}], **more}
    # A connection each, so that both workers get some.
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=20).status_code


def count(told: Collector, name: str, **labels: Any) -> int:
    return told.histogram(name, **labels)[0]


def test_requests_are_those_of_a_server(told):
    of = {"gen_ai__request__model": "o/ok", "gen_ai__provider__name": "o-ok-1", "gen_ai__operation__name": "chat"}
    assert count(told, "gen_ai.server.request.duration", **of) == REQUESTS + 1
    assert count(told, "gen_ai.server.time_to_first_token", **of) == REQUESTS
    assert count(told, "gen_ai.server.time_per_output_token", **of) == REQUESTS
    _, seconds = told.histogram("gen_ai.server.request.duration", **of)
    assert 0 < seconds < 60


def test_reasoning_before_the_first_token_does_not_make_the_others_look_fast(told):
    measured, seconds = told.histogram("gen_ai.server.time_per_output_token", gen_ai__request__model="o/thoughtful")
    assert measured == 1
    assert 0.03 < seconds < 0.15


def test_calls_are_those_of_a_client_and_say_what_they_used(told):
    of = {"gen_ai__request__model": "ok?tokens=8&cached=5&thinking=3", "gen_ai__provider__name": "o-ok-1"}
    assert count(told, "gen_ai.client.operation.duration", **of) == REQUESTS + 1
    assert count(told, "gen_ai.client.operation.time_to_first_chunk", **of) == REQUESTS
    assert told.histogram("gen_ai.client.token.usage", **of, gen_ai__token__type="input") == (
        REQUESTS + 1,
        12 * (REQUESTS + 1),
    )
    assert told.histogram("gen_ai.client.token.usage", **of, gen_ai__token__type="output") == (
        REQUESTS + 1,
        11 * (REQUESTS + 1),
    )


def test_a_failed_call_of_an_answered_request_is_an_error_of_the_call_alone(told):
    first = {"gen_ai__provider__name": provider_slug("o/second", 1), "error__type": "provider_unavailable"}
    assert count(told, "gen_ai.client.operation.duration", **first) == 1
    assert count(told, "gen_ai.server.request.duration", gen_ai__request__model="o/second") == 1
    assert (
        count(told, "gen_ai.server.request.duration", gen_ai__request__model="o/second", error__type="provider_unavailable")
        == 0
    )


def test_failures_say_their_type_and_strangers_have_no_names(told):
    dead = {"gen_ai__request__model": "o/dead", "error__type": "provider_unavailable"}
    assert count(told, "gen_ai.server.request.duration", **dead) == 1
    assert count(told, "gen_ai.server.request.duration", gen_ai__request__model="other", error__type="not_found") == 1
    assert count(told, "gen_ai.server.request.duration", gen_ai__request__model="o/of-a-stranger") == 0


def test_tokens_that_no_provider_told_are_not_counted(told):
    provider = provider_slug("o/unsaid")
    assert count(told, "gen_ai.client.operation.duration", gen_ai__provider__name=provider) == 1
    assert count(told, "gen_ai.client.token.usage", gen_ai__provider__name=provider) == 0


def test_each_worker_is_an_instance_of_the_service(told):
    instances = {resource["service.instance.id"] for resource in told.resources()}
    assert 1 <= len(instances) <= 2
    assert {resource["service.name"] for resource in told.resources()} == {"openrouter-gateway"}
    assert {resource["deployment.environment.name"] for resource in told.resources()} == {"tests"}


def test_traces_may_be_left_out(told):
    assert told.spans == []


def test_names_and_units_are_those_of_the_conventions(told):
    source = inspect.getsource(gen_ai_metrics)
    known = dict(re.findall(r'name=(GEN_AI_\w+),\n.*\n\s+unit="([^"]+)"', source))
    units = {getattr(gen_ai_metrics, constant): unit for constant, unit in known.items()}
    assert len(told.units()) == 6
    assert told.units().items() <= units.items()


def test_nothing_is_observed_while_it_is_off():
    assert not otlp_metrics.is_on()
