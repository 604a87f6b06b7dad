"""What clients read: bodies, chunks and errors in OpenRouter's shape."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from accounting.pricing import Cost
from accounting.usage import Usage
from catalog.entries import Prices
from completions import relay, sse
from completions.dialects.base import Chunk, Completion
from completions.relay import Identity, StreamRelay, Tally
from gateway_project.errors import ProviderUnavailable

IDENTITY = Identity(id="gen-1-x", created=1, model="acme/falcon", provider="Acme")
PRICES = Prices.parse({"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001"})


def delta(finish=None, **said) -> Chunk:
    return Chunk(
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "", **said},
                "finish_reason": finish,
                "native_finish_reason": finish,
            }
        ]
    )


def events(data: bytes) -> list[Any]:
    return ["[DONE]" if payload == b"[DONE]" else orjson.loads(payload) for _, payload in sse.SSEDecoder().feed(data)]


def test_a_whole_answer_has_every_field_that_clients_require():
    completion = Completion(
        [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Oslo."},
                "finish_reason": "stop",
                "native_finish_reason": "end",
            }
        ]
    )
    usage = Usage(prompt_uncached=30, cache_read=10, completion_text=5, reasoning=2)
    body = relay.body(completion, IDENTITY, usage, relay.charge(usage, PRICES, "stop"))
    assert body["system_fingerprint"] is None
    assert body["choices"][0]["logprobs"] is None
    assert body["choices"][0]["message"]["refusal"] is None
    assert body["usage"]["prompt_tokens"] == 40
    assert body["usage"]["completion_tokens"] == 7
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 10
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    assert Decimal(str(body["usage"]["cost"])) == Decimal("0.000045")
    assert "error" not in body


def test_a_stream_ends_with_the_finish_repeated_beside_usage_and_done():
    relaying = StreamRelay(IDENTITY)
    relaying.events([delta(content="Hi"), delta("stop")])
    *_, last, done = events(relaying.finish(Usage(prompt_uncached=1, completion_text=1), Cost()))
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["usage"]["total_tokens"] == 2
    assert done == "[DONE]"


def test_a_finish_that_is_told_twice_is_repeated_once():
    relaying = StreamRelay(IDENTITY)
    relaying.events([delta(content="Hi"), delta("stop"), delta("stop")])
    last, _ = events(relaying.finish(Usage(prompt_uncached=1, completion_text=1), Cost()))
    assert [choice["index"] for choice in last["choices"]] == [0]


def test_what_is_said_apart_from_any_choice_goes_out_with_the_usage():
    relaying = StreamRelay(IDENTITY)
    assert relaying.events([Chunk([], extra={"prompt_filter_results": [{"prompt_index": 0}]})]) == b""
    relaying.events([delta(content="Hi"), delta("stop"), Chunk([], extra={"timings": {"predicted_n": 1}})])
    last, _ = events(relaying.finish(Usage(prompt_uncached=1, completion_text=1), Cost()))
    assert last["prompt_filter_results"] == [{"prompt_index": 0}]
    assert last["timings"] == {"predicted_n": 1}
    assert last["usage"]["total_tokens"] == 2


def test_usage_is_held_back_until_the_end():
    relaying = StreamRelay(IDENTITY)
    chunk = delta(content="Hi")
    chunk.usage = Usage(prompt_uncached=1, completion_text=1)
    assert "usage" not in events(relaying.events([chunk]))[0]
    assert relaying.tally.usage == chunk.usage


def test_an_error_in_a_stream_is_a_whole_chunk():
    error, done = events(
        StreamRelay(IDENTITY).error(ProviderUnavailable("It broke at https://acme.test/v1?key=sk-123456789012345"))
    )
    assert error["object"] == "chat.completion.chunk"
    assert error["error"]["code"] == 502
    assert error["error"]["metadata"]["error_type"] == "provider_unavailable"
    assert error["choices"][0]["finish_reason"] == "error"
    assert "acme.test" not in error["error"]["message"]
    assert done == "[DONE]"


def test_reasoning_is_left_out_for_a_caller_who_excluded_it_but_counted():
    relaying = StreamRelay(IDENTITY, hide_reasoning=True)
    [event] = events(
        relaying.events([delta(reasoning="Hm.", reasoning_details=[{"type": "reasoning.text", "text": "Hm."}])])
    )
    assert event["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert relaying.tally.completion_characters == 3


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"content": "x"}, True),
        ({"reasoning": "x"}, True),
        ({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}, True),
        ({"content": ""}, False),
        ({}, False),
    ],
)
def test_content_is_anything_that_is_said(said, expected):
    assert relay.has_content(delta(**said)) is expected


def test_a_provider_without_usage_is_estimated_and_marked():
    tally = Tally(completion_characters=9)
    assert tally.settle(prompt_characters=40) == Usage(prompt_uncached=10, completion_text=3, is_estimated=True)


def test_a_failure_without_a_token_of_output_is_free():
    assert relay.charge(Usage(prompt_uncached=1000), PRICES, None).total == 0
    assert relay.charge(Usage(prompt_uncached=1000), PRICES, "stop").total > 0
