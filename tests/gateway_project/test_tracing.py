"""Spans as a collector receives them: a gateway sends OTLP over HTTP to a server in this process, which decodes the protobuf."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from completions import tracing
from tests.fakes.catalogue import REFUSED, provider_slug, seed
from tests.gateway_project.otlp_collector import Collector, attributes_of
from tests.live import ROOT, Gateway, until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "tracestate": "vendor=value"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture(scope="module")
def traced(tmp_path_factory, fake, migrated_database, collector) -> Iterator[Gateway]:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
    }
    models = {
        "t/cached": "ok?tokens=8&cached=5&thinking=3",
        "t/second": (REFUSED, "ok"),
        "t/slow": "ok?tokens=300&delay=0.05",
    }
    directory = tmp_path_factory.mktemp("traced")
    with Gateway(directory, seed(fake, models), environment, database=migrated_database) as running:
        yield running
        assert "Traceback" not in running.log, running.log


def ask(gateway: Gateway, model: str, headers: dict[str, str] | None = None, **more: Any):
    body = {"model": model, "messages": [{"role": "user", "content": "one two"}], **more}
    return gateway.client.post("/v1/chat/completions", json=body, headers=headers or {})


def test_a_request_is_a_span_in_the_words_of_the_conventions(traced, collector):
    response = ask(traced, "t/cached", stream=True, temperature=0.5, max_tokens=50, seed=7, session_id="talk-1")
    request, (attempt,) = collector.of(response.headers["x-request-id"], attempts=1)
    assert request.name == "chat t/cached"
    assert attributes_of(request).items() >= {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "t-cached-1",
        "gen_ai.request.model": "t/cached",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.conversation.id": "talk-1",
        "gen_ai.response.model": "t/cached",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 11,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "http.response.status_code": 200,
        "gateway.attempts": 1,
    }.items()  # fmt: skip
    assert attributes_of(request)["gen_ai.response.time_to_first_chunk"] >= 0
    assert attributes_of(request)["gateway.cost_usd"] > 0
    assert attempt.kind == Span.SPAN_KIND_CLIENT
    assert attempt.name == "chat ok?tokens=8&cached=5&thinking=3"
    assert attributes_of(attempt)["gen_ai.usage.input_tokens"] == 12
    assert request.start_time_unix_nano <= attempt.start_time_unix_nano <= attempt.end_time_unix_nano
    assert attempt.end_time_unix_nano <= request.end_time_unix_nano + 1_000_000


def test_the_service_is_named_and_the_operators_attributes_are_there(traced, collector):
    ask(traced, "t/cached")
    resource = until(lambda: [resource for resource, _ in list(collector.spans)], "a span has come")[0]
    assert resource["service.name"] == "openrouter-gateway"
    assert resource["deployment.environment.name"] == "tests"


def test_the_callers_trace_goes_on_through_the_gateway_to_the_provider(traced, collector, fake, marker):
    response = ask(traced, "t/cached", CALLER, user=marker)
    request, (attempt,) = collector.of(response.headers["x-request-id"], attempts=1)
    assert request.trace_id.hex() == attempt.trace_id.hex() == TRACE_ID
    assert request.parent_span_id.hex() == PARENT_ID
    sent = {name.lower(): value for name, value in dict(fake.call_with(marker).headers).items()}
    assert sent["traceparent"] == f"00-{TRACE_ID}-{attempt.span_id.hex()}-01"
    assert sent["tracestate"] == "vendor=value"


@pytest.mark.parametrize("broken", ["nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_broken_context_begins_a_new_trace(traced, collector, broken):
    response = ask(traced, "t/cached", {"traceparent": broken})
    request, _ = collector.of(response.headers["x-request-id"], attempts=1)
    assert request.parent_span_id == b""
    assert int(request.trace_id.hex(), 16)


def test_a_fallback_shows_both_attempts_and_which_one_failed(traced, collector):
    response = ask(traced, "t/second")
    assert response.status_code == 200
    request, (first, second) = collector.of(response.headers["x-request-id"], attempts=2)
    assert attributes_of(first)["gen_ai.provider.name"] == provider_slug("t/second", 1)
    assert attributes_of(first)["error.type"] == "provider_unavailable"
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert second.status.code == Status.STATUS_CODE_UNSET
    assert request.status.code == Status.STATUS_CODE_UNSET
    assert attributes_of(request)["gateway.attempts"] == 2


def test_a_refused_request_is_a_span_without_attempts(traced, collector):
    response = ask(traced, "t/none")
    request, _ = collector.of(response.headers["x-request-id"], attempts=0)
    assert attributes_of(request)["error.type"] == "not_found"
    assert attributes_of(request)["http.response.status_code"] == 404
    assert request.status.code == Status.STATUS_CODE_ERROR


def test_no_content_and_no_key_is_in_a_span(traced, collector):
    response = ask(traced, "t/cached", {"x-title": "app"}, user="somebody")
    collector.of(response.headers["x-request-id"], attempts=1)
    everything = str(collector.spans)
    assert "one two" not in everything
    assert traced.environment["FAKE_KEY"] not in everything


def test_every_attribute_of_the_conventions_is_one_of_theirs():
    """Against the names that the SDK ships; `cache_write` is newer (semantic-conventions-genai, 2026) than its 0.66b2."""
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    files = [ROOT / "completions" / name for name in ("conventions.py", "tracing.py")]
    source = "".join(file.read_text() for file in files)
    known = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    used = set(re.findall(r'"(gen_ai\.[a-z_.]+)"', source))
    assert len(used) > 15
    assert used - known <= {"gen_ai.usage.cache_write.input_tokens"}


def test_a_collector_that_is_away_costs_callers_nothing(start_gateway, fake):
    gateway = start_gateway(
        seed(fake, {"a/ok": "ok"}),
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_BSP_SCHEDULE_DELAY="50",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        SHUTDOWN_GRACE_S="3",
    )
    for _ in range(5):
        response = ask(gateway, "a/ok")
        assert response.status_code == 200
        assert response.elapsed.total_seconds() < 1


def test_files_name_the_collector_and_its_key_and_what_is_not_spoken_is_said_at_the_start(
    start_gateway, fake, tmp_path, marker
):
    collector = Collector()
    (tmp_path / "endpoint").write_text(f"{collector.url}/\n")
    (tmp_path / "headers").write_text("authorization=Bearer%20of-the-collector")
    gateway = start_gateway(
        seed(fake, {"f/ok": "ok"}),
        OTEL_EXPORTER_OTLP_ENDPOINT_FILE=str(tmp_path / "endpoint"),
        OTEL_EXPORTER_OTLP_HEADERS_FILE=str(tmp_path / "headers"),
        OTEL_PROPAGATORS="b3,baggage",
        OTEL_TRACES_EXPORTER="otlp,console",
        OTEL_METRICS_EXPORTER="prometheus",
        OTEL_BSP_SCHEDULE_DELAY="50",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
    )
    assert "WARNING gateway.watch: OTEL_PROPAGATORS: b3 is not spoken, only tracecontext is" in gateway.log
    assert "WARNING gateway.watch: OTEL_TRACES_EXPORTER: console is not served, nothing is printed" in gateway.log
    response = ask(gateway, "f/ok", CALLER, user=marker)
    request, _ = collector.of(response.headers["x-request-id"], attempts=1)
    assert request.trace_id.hex() != TRACE_ID, "without tracecontext no trace of a caller is joined"
    assert "traceparent" not in fake.call_with(marker).headers
    assert collector.authorizations == {"Bearer of-the-collector"}
    assert collector.units() == {}
    collector.close()


def test_nothing_of_it_is_imported_while_tracing_is_off(tmp_path):
    """The client of Redis imports the API and the SDK's metrics by itself; spans, their export and protobuf only we do."""
    code = (
        "import sys; from django.conf import settings; import gateway_project.asgi; "
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'opentelemetry.proto', 'google.protobuf'); "
        "print([name for name in sys.modules if name.startswith(ours)], settings.OTLP.traces)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PATH": "", "VAR_DIR": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == "[] None"


def test_headers_are_empty_while_tracing_is_off():
    assert not tracing.is_on()
    assert tracing.headers() == {}
