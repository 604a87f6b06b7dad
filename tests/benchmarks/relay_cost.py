"""CPU time to relay one token of a stream: provider's bytes -> chunks -> client's bytes, for the OpenAI dialect.

    uv run python -m tests.benchmarks.relay_cost

Goal: at most 8 microseconds per token. Every read holds one event, as from an engine that flushes each token. The figure is the
least of many short runs in process time, so that other work on the machine does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson

from catalog.entries import DialectName, Quirks
from completions.dialects import DIALECTS
from completions.relay import Identity, StreamRelay
from tests.completions.dialects.test_contract import adapter_with

RUNS, EVENTS = 400, 200
ADAPTER = adapter_with(DialectName.OPENAI, Quirks())
IDENTITY = Identity(id="gen-1795000000-abcdefghijklmnopqrst", created=1795000000, model="acme/falcon-2", provider="Acme")
DELTAS = {
    "text": {"content": " token"},
    "reasoning": {"content": None, "reasoning_content": " token"},
    "arguments": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]},
}


def event(delta: dict[str, object]) -> bytes:
    """One event as vLLM writes it."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    told = {"id": "chatcmpl-0123456789", "object": "chat.completion.chunk", "created": 1795000000, "model": "falcon-2"}
    return b"data: " + orjson.dumps({**told, "choices": [choice]}) + b"\n\n"


def least_us(work: Callable[[], object], repeats: int) -> float:
    """Microseconds of the fastest run of `work`, which does `repeats` things."""
    least = float("inf")
    for _ in range(RUNS):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least / repeats * 1e6


def main() -> None:
    for name, delta in DELTAS.items():
        pieces = [event(delta)] * EVENTS

        def decode(pieces: list[bytes] = pieces) -> None:
            decoder = DIALECTS[DialectName.OPENAI].decoder(ADAPTER)
            for piece in pieces:
                decoder.feed(piece)

        def relay(pieces: list[bytes] = pieces) -> None:
            decoder, relaying = DIALECTS[DialectName.OPENAI].decoder(ADAPTER), StreamRelay(IDENTITY)
            for piece in pieces:
                relaying.events(decoder.feed(piece))

        decoded, relayed = least_us(decode, EVENTS), least_us(relay, EVENTS)
        print(f"{name:10} decode {decoded:5.2f} us + relay {relayed - decoded:5.2f} us = {relayed:5.2f} us per token")  # noqa: T201


if __name__ == "__main__":
    main()
