"""Every operation of our own OpenAPI document, with input made from it: never a fault of ours, always the envelope.

A few examples each in the normal suite; many with FUZZ_EXAMPLES=2000 in the environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.deploy.supervision import Served
from tests.fakes.catalogue import seed
from tests.live import Gateway

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
FUZZING = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES < 100,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
PROVIDERS_FAULTS = (502, 504)


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory, fake, migrated_database) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("fuzzed") / "gateway"
    unlimited = {"FAILED_AUTH_LIMIT": "1000000"}
    with Served(directory, seed(fake, {"fake/ok": "ok"}), unlimited, database=migrated_database) as gateway:
        gateway.client.headers["Authorization"] = f"Bearer {gateway.create_key('fuzz', '--management')}"
        yield gateway
        assert "Traceback" not in gateway.log


@pytest.fixture(scope="session")
def api(fuzzed):
    document = fuzzed.client.get("/v1/openapi.json").json()
    return schemathesis.openapi.from_dict(document)


def test_no_input_makes_the_gateway_fail(fuzzed, api):
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @FUZZING
        @given(operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            request = case.as_transport_kwargs(base_url=fuzzed.url, headers=dict(fuzzed.client.headers))
            judge(send(fuzzed, request))

        ask()


def send(gateway: Gateway, request: dict[str, Any]) -> httpx.Response | None:
    """The answer; None for what no HTTP client can send."""
    try:
        return gateway.client.request(
            request["method"],
            request["url"],
            params=request.get("params"),
            headers={name: value for name, value in (request.get("headers") or {}).items() if value is not None},
            json=request.get("json"),
            content=request.get("data") if isinstance(request.get("data"), bytes | str) else None,
        )
    except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError, ValueError):
        return None


def judge(response: httpx.Response | None) -> None:
    if response is None:
        return
    asked = f"{response.request.method} {response.request.url} {response.request.content[:2000]!r}"
    assert response.status_code < 500 or response.status_code in PROVIDERS_FAULTS, f"{asked}: {response.text}"
    if response.status_code >= 400:
        error = response.json()["error"]
        assert error["code"] == response.status_code
        assert error["message"]
        assert error["metadata"]["error_type"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="session")
def chat_fields(fuzzed) -> dict[str, Any]:
    """The properties of a chat request, by name."""
    document = fuzzed.client.get("/v1/openapi.json").json()
    return dict(document["components"]["schemas"]["ChatRequest"]["properties"])


def test_any_value_in_any_field_of_a_chat_is_answered_or_refused(fuzzed, chat_fields):
    """Bodies made from the schema rarely name a model that exists; these do, and reach the provider."""

    @FUZZING
    @given(st.dictionaries(st.sampled_from(sorted(chat_fields)), JSON, min_size=1, max_size=3))
    def ask(fields: dict[str, Any]) -> None:
        body = {"model": "fake/ok", "messages": [{"role": "user", "content": "hello"}], **fields}
        judge(fuzzed.client.post("/v1/chat/completions", content=json.dumps(body), headers=AS_JSON))

    ask()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"model": "fake/ok", "messages": ' + "[" * 1000 + "]" * 1000 + "}",
        '{"model": "fake/ok", "max_tokens": 1' + "0" * 5000 + "}",
        '{"model": "fake/ok", "messages": [{"role": "user", "content": "\\ud800"}]}',
        '{"model": "' + "x" * 1_000_000 + '", "messages": [{"role": "user", "content": "hello"}]}',
        '{"model": "fake/ok\\r\\nX-Injected: yes", "messages": [{"role": "user", "content": "hello"}]}',
        "\ufeff{}",
        "",
        "null",
        "NaN",
    ],
    ids=["deep list", "deep object", "deep messages", "long number", "lone surrogate", "long model", "line break",
         "byte order mark", "nothing", "null", "no number"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/keys"])
def test_a_bomb_is_a_refusal(fuzzed, path, text):
    response = fuzzed.client.post(path, content=text.encode(), headers=AS_JSON)
    judge(response)
    assert 400 <= response.status_code < 500
    assert "x-injected" not in response.headers


@pytest.mark.parametrize("name", ["X-Title", "HTTP-Referer", "X-Session-Id", "User-Agent", "X-Api-Key", "Origin"])
def test_hostile_headers_are_data(fuzzed, name):
    for value in (b"\xff\xfe", b"a" * 30_000, b"<script>alert(1)</script>", b"%0d%0aX-Injected: yes", b"' OR 1=1 --"):
        response = fuzzed.client.post(
            "/v1/chat/completions",
            json={"model": "fake/ok", "messages": [{"role": "user", "content": "hello"}]},
            headers={name.encode(): value},
        )
        judge(response)
        assert "x-injected" not in response.headers
        assert b"<script>" not in response.content


AS_JSON = {"Content-Type": "application/json"}
