"""Requests that the gateway itself refuses: the status, the words, and that no provider is bothered."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import select
import socket
import time

import httpx
import pytest

from tests.journeys import rules
from tests.journeys.asking import Asker

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


def refused(response: httpx.Response, status: int, error_type: str = "invalid_request") -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    return rules.is_error(response.json(), status, error_type)


@pytest.mark.parametrize("body", [b'{"model": "fake/ok", ]', b"", b"hello", b'{"model": "fake/ok"'])
def test_malformed_json_is_refused_with_the_place(gateway, body):
    error = refused(gateway.client.post(CHAT, content=body, headers=JSON), 400)
    assert re.search(r"(line|column|char|position|byte|empty)", error["message"]), error["message"]


@pytest.mark.parametrize("body", ["[]", '"text"', "null", "7"])
def test_a_body_that_is_no_object_is_refused(gateway, body):
    error = refused(gateway.client.post(CHAT, content=body, headers=JSON), 400)
    assert "object" in error["message"].lower()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 9}, "temperature"),
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "wizard", "content": "b"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"provider": []}, "provider"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_the_path_of_its_field(ask, gateway, fake, change, path):
    response = gateway.client.post(CHAT, json=ask.body("fake/ok") | change)
    assert response.status_code in (400, 422)
    error = response.json()["error"]
    rules.is_error(response.json(), response.status_code, error["metadata"]["error_type"])
    assert path in error["message"].replace(".0", "[0]").replace(".1", "[1]"), error["message"]
    assert fake.calls_with(ask.marker) == []


def attempts_of(gateway, model: str) -> list[dict]:
    """What `routingstats` says of the attempts at each adapter of `model`."""
    report = json.loads(gateway.manage("routingstats", "--json", "--model", model))
    return [adapter["attempts"] for adapter in report["adapters"]]


def test_a_shape_that_no_provider_can_read_is_refused_before_one_is_chosen(ask, gateway, fake):
    response = ask.chat("unsendable/shapeless", tools=[{"type": "function"}])

    error = refused(response, 400)
    assert (error["message"], error["metadata"]) == ("tools[0].function is missing", {"error_type": "invalid_request"})
    row = ask.row()
    assert (row["status_code"], row["model_id"], row["provider"]) == (400, "unsendable/shapeless", "")
    assert (row["attempts"], row["plan"]) == ([], None)
    assert fake.calls_with(ask.marker) == []
    assert [each["made"] for each in attempts_of(gateway, "unsendable/shapeless")] == [0, 0]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_no_provider_can_be_told_is_no_attempt_at_any(ask, gateway, fake, stream):
    response = ask.chat("unsendable/all", tools=[{"type": "openrouter:datetime"}], stream=stream)

    error = refused(response, 400)
    assert error["message"].startswith("tools[0].type is 'openrouter:datetime', which OpenRouter alone runs")
    assert error["metadata"] == {"error_type": "invalid_request"}
    row = ask.row()
    assert (row["status_code"], row["attempts"]) == (400, [])
    assert [(line["rank"], line["code"]) for line in row["plan"]] == [(None, "unsendable")] * 2
    assert fake.calls_with(ask.marker) == []
    assert [each["made"] for each in attempts_of(gateway, "unsendable/all")] == [0, 0]


def test_another_provider_answers_what_the_first_cannot_be_told(ask, gateway):
    assert ask.chat("unsendable/first", tools=[{"type": "openrouter:datetime"}]).status_code == 200
    (attempt,) = ask.row()["attempts"]
    assert (attempt["provider"], attempt["status"]) == ("unsendable-first-2", 200)
    first, second = attempts_of(gateway, "unsendable/first")
    assert (first["made"], second["made"], second["retries"], second["fallbacks"]) == (0, 1, 0, 0)


def test_a_prompt_too_long_for_every_provider_is_told_in_the_words_that_clients_look_for(ask, fake):
    response = ask.chat("fake/small", messages=[{"role": "user", "content": "word " * 1000}])

    error = refused(response, 400, "context_length_exceeded")
    assert "maximum context length is 1000 tokens. However, you requested about 1250 tokens" in error["message"]
    assert (ask.row()["status_code"], ask.row()["error_type"]) == (400, "context_length_exceeded")
    assert fake.calls_with(ask.marker) == []


def test_more_max_tokens_than_any_provider_answers_with_are_told_by_their_own_type(ask):
    error = refused(ask.chat("fake/small", max_tokens=501), 400, "max_tokens_exceeded")
    assert error["message"].startswith("max_tokens is 501, more than the 500 tokens that")


def test_a_model_that_is_not_set_up_is_not_asked_for_again(ask):
    response = ask.chat("fake/unset")

    error = refused(response, 404, "not_found")
    assert "no route to it is set up on this gateway" in error["message"]
    assert "NOBODY_SETS_THIS" in error["message"]
    availability = error["availability"]
    assert (availability["code"], availability["retryable"]) == ("no_endpoints", False)
    assert "retry-after" not in response.headers


def test_a_compressed_body_is_a_415_that_names_the_encoding(ask, gateway):
    content = gzip.compress(json.dumps(ask.body("fake/ok")).encode())
    response = gateway.client.post(CHAT, content=content, headers={**JSON, "Content-Encoding": "gzip"})

    assert refused(response, 415)["message"] == (
        "Content-Encoding 'gzip' is not taken; send the body uncompressed, without Content-Encoding"
    )
    assert response.headers["accept-encoding"] == "identity"
    rules.is_readable_by_browsers(response.headers)


@pytest.mark.parametrize("levels", [17, 100, 990])
def test_metadata_nested_for_no_use_is_refused_and_not_kept(ask, fake, levels):
    body = json.dumps(ask.body("fake/ok", metadata="DEEP")).replace('"DEEP"', '{"a":' * levels + "1" + "}" * levels)
    response = ask.gateway.client.post(CHAT, content=body, headers=JSON)

    assert refused(response, 400)["message"].startswith("metadata: nested deeper than 16 levels")
    assert fake.calls_with(ask.marker) == []
    row = ask.gateway.row(request_id=response.headers["x-generation-id"])
    assert (row["status_code"], row.get("metadata")) == (400, None)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(ask, gateway, missing):
    body = ask.body("fake/ok")
    del body[missing]
    assert missing in refused(gateway.client.post(CHAT, json=body), 400)["message"]


def test_an_unknown_model_is_a_404_that_names_close_ones_and_leaves_a_row(ask):
    error = refused(ask.chat("fake/tolls"), 404, "not_found")
    assert "fake/tolls" in error["message"]
    assert "fake/tools" in str(error)
    row = ask.row()
    assert (row["status_code"], row["error_type"], row["requested_model"]) == (404, "not_found", "fake/tolls")


def test_an_unknown_model_is_refused_before_a_stream_begins(ask):
    response = ask.chat("fake/nothing-like-it", stream=True)
    refused(response, 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_a_405_that_says_which_is_right(gateway, method):
    response = gateway.client.request(method, CHAT)
    refused(response, 405)
    assert "POST" in response.headers["allow"]


def test_a_page_that_does_not_exist_is_a_404_in_the_same_envelope(gateway):
    refused(gateway.client.get("/v1/nothing"), 404, "not_found")


@pytest.mark.parametrize("path", ["embeddings", "responses", "messages", "rerank", "audio/transcriptions"])
@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
def test_a_call_that_others_have_and_this_api_has_not_says_where_its_own_are(gateway, prefix, path):
    response = gateway.client.post(f"{prefix}/{path}", json={"model": "fake/ok", "input": "hi"})

    error = refused(response, 404, "not_found")
    assert f"nothing at {prefix}/{path}" in error["message"]
    assert "/v1/docs" in error["message"]
    assert gateway.client.get("/v1/docs").status_code == 200


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml"]
)
def test_another_content_type_is_a_415(ask, gateway, content_type):
    response = gateway.client.post(CHAT, content=b"model=fake/ok", headers={"Content-Type": content_type})
    refused(response, 415)


def test_json_without_a_content_type_is_accepted(ask, gateway):
    request = gateway.client.build_request("POST", CHAT, json=ask.body("fake/ok"))
    del request.headers["content-type"]
    assert gateway.client.send(request).status_code == 200


def test_too_large_a_body_is_refused_without_reading_it(strict_gateway):
    with socket.create_connection(("127.0.0.1", strict_gateway.port), timeout=3) as announced:
        announced.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            b"Content-Length: 50000000\r\n\r\n{"
        )
        assert announced.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_too_large_a_body_of_unknown_length_is_refused_on_the_way(strict_gateway):
    sent = 0
    with socket.create_connection(("127.0.0.1", strict_gateway.port), timeout=3) as endless:
        endless.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        with contextlib.suppress(ConnectionError):  # The answer came, and the door was shut, while we were still sending.
            while sent < 20_000_000 and not select.select([endless], [], [], 0)[0]:
                endless.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
        assert endless.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert sent < 5_000_000


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions", "/v1/models"])
def test_a_browser_may_ask(gateway, path):
    wanted = "authorization,content-type,http-referer,x-title,x-openrouter-title,x-session-id,x-stainless-lang"
    preflight = gateway.client.options(
        path,
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": wanted,
        },
    )
    assert preflight.status_code in (200, 204)
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert allowed == "*" or set(wanted.split(",")) <= {name.strip() for name in allowed.split(",")}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["fake/ok", "fake/unknown", "browser/only-500", "browser/only-429"])
def test_answers_and_errors_alike_can_be_read_by_a_browser(ask, model, stream):
    response = ask.chat(model, stream=stream, headers={"Origin": "https://app.example"})
    rules.is_readable_by_browsers(response.headers)
    assert {"x-request-id", "x-generation-id"} <= response.headers.keys()
    assert ("retry-after" in response.headers) == (model == "browser/only-429")


def test_a_refused_key_and_too_large_a_body_can_be_read_by_a_browser(ask_strictly, strict_gateway, marker):
    response = Asker(strict_gateway, marker).chat("fake/ok")
    assert "www-authenticate" in response.headers
    rules.is_readable_by_browsers(response.headers)
    large = ask_strictly.chat("fake/ok", messages=[{"role": "user", "content": "x" * 200_000}])
    assert large.status_code == 413
    rules.is_readable_by_browsers(large.headers)
    page = strict_gateway.client.post("/v1/keys", content=b"x" * 200_000)
    assert page.status_code == 413
    rules.is_readable_by_browsers(page.headers)
    console = strict_gateway.client.post("/admin/login/", content=b"x" * 200_000)
    assert console.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in console.headers


def test_a_key_is_needed_where_keys_are_required(strict_gateway, fake, marker):
    ask = Asker(strict_gateway, marker)
    assert "Authorization: Bearer" in refused(ask.chat("fake/ok"), 401, "authentication")["message"]
    for bad in ("Bearer sk-or-v1-" + "0" * 64, "Bearer nonsense", "Basic dTpw", "Bearer"):
        error = refused(ask.chat("fake/ok", headers={"Authorization": bad}), 401, "authentication")
        assert "0" * 64 not in str(error)
    assert fake.calls_with(marker) == []


def test_a_key_is_booked_by_its_number_and_kept_nowhere(ask_strictly, strict_gateway, strict_key):
    assert ask_strictly.chat("fake/ok").status_code == 200
    row = ask_strictly.row()
    assert row["api_key_id"] == strict_gateway.sql("SELECT id FROM accounting_apikey")[0]["id"]
    kept = strict_gateway.sql("SELECT * FROM api_logs") + strict_gateway.sql("SELECT * FROM accounting_apikey")
    assert strict_key not in str(kept)
    assert strict_key not in strict_gateway.log


def test_a_bad_key_is_refused_even_where_none_is_needed(ask):
    response = ask.chat("fake/ok", headers={"Authorization": "Bearer sk-or-v1-" + "0" * 64})
    refused(response, 401, "authentication")


def test_a_refusal_takes_no_time(ask):
    began = time.monotonic()
    ask.chat("fake/unknown")
    assert time.monotonic() - began < 1


def test_no_secret_and_no_prompt_is_in_the_log(ask, gateway, key):
    ask.chat(
        "log/only-500",
        messages=[{"role": "user", "content": "a-private-prompt"}],
        headers={"Authorization": f"Bearer {key}"},
    )
    ask.row()
    for hidden in ("a-private-prompt", key, gateway.environment["FAKE_KEY"], "sk-secret"):
        assert hidden not in gateway.log
