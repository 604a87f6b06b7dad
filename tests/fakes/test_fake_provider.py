"""The fake provider itself: a fault that it does not produce would make the tests that rely on it meaningless."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.provider import FakeProvider
from tests.fakes.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=provider.base_url(), timeout=0.5) as opened:
        yield opened


def chat(client: httpx.Client, model: str, **body: object) -> httpx.Response:
    return client.post("/chat/completions", json={"model": model, "messages": [{"content": "one two three"}], **body})


def events(response: httpx.Response) -> list[str]:
    lines = [line for line in response.text.replace("\r\n", "\n").split("\n\n") if line and not line.startswith(":")]
    return [line.removeprefix("data: ") for line in lines]


def text(response: httpx.Response) -> str:
    chunks = [json.loads(event) for event in events(response) if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_it_repeats_the_last_message(client):
    answer = chat(client, "ok").json()
    assert answer["choices"][0]["message"]["content"] == "one two three"
    assert answer["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("model", ["ok", "bytewise", "crlf", "comments", "slow-first?delay=0.05", "no-usage"])
def test_it_streams_the_same_text_in_every_disguise(client, model):
    response = chat(client, model, stream=True)
    assert text(response) == "one two three"
    assert events(response)[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("silence", httpx.ReadTimeout),
        ("mute", httpx.ReadTimeout),
        ("stall", httpx.ReadTimeout),
        ("reset", httpx.ReadError),
        ("hang-up", httpx.RemoteProtocolError),
        ("cut", httpx.RemoteProtocolError),
    ],
)
def test_its_connection_faults_look_like_the_real_ones(client, model, error):
    with pytest.raises(error):
        chat(client, model, stream=True)


def test_it_notes_when_the_client_left_and_how_far_it_got(provider, client):
    began = time.monotonic()
    with contextlib.suppress(httpx.ReadTimeout):
        chat(client, "stall?after=1", stream=True, user="stall-marker")
    call = provider.call_with("stall-marker", until=lambda call: call.is_over)
    assert call.client_left_at is not None
    assert call.finished_at is None
    assert 0.4 < call.client_left_at - began < 2
    assert call.events_sent == 2


def test_it_flaps_and_counts_per_model(client):
    assert [chat(client, "flapping").status_code for _ in range(4)] == [500, 200, 500, 200]


def test_it_answers_with_the_status_and_the_wait_that_were_asked_for(client):
    response = chat(client, "status?code=429&after=7")
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")


def test_its_parallel_tool_calls_are_interleaved_pieces_of_one_json_each(client):
    chunks = [json.loads(event) for event in events(chat(client, "tools?calls=2", stream=True))[:-1]]
    arguments = ["", ""]
    for chunk in chunks:
        for call in chunk["choices"][0]["delta"].get("tool_calls", []) if chunk["choices"] else []:
            arguments[call["index"]] += call["function"]["arguments"]
    assert [json.loads(whole) for whole in arguments] == [{"city": "Oslo"}] * 2


def test_it_decodes_a_chunked_request_and_keeps_the_connection(provider, client):
    for _ in range(2):
        body = json.dumps({"model": "ok", "messages": [{"content": "hi"}], "user": "chunked-marker"}).encode()
        answer = client.post("/chat/completions", content=iter([body[:9], body[9:]])).json()
        assert answer["choices"][0]["message"]["content"] == "hi"
    assert len({call.connection for call in provider.calls_with("chunked-marker")}) == 1


def test_every_scenario_says_what_it_does():
    assert [name for name, play in SCENARIOS.items() if not play.__doc__] == []
