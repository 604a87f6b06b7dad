"""Canonical answers to what the client reads, with a tally of what went by. Pure: no network, no clock, no Django.

Owns the shape of bodies, chunks and error events (openrouter.md 2, 3 and 9.1): ids, `provider`, usage with cost, one finish.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from msgspec import Struct, structs

from accounting.pricing import FREE, Cost, cost, is_free
from accounting.usage import Usage, estimate
from catalog.prices import Prices
from completions import sse
from completions.dialects.base import JSON, Chunk, Completion
from gateway_project.errors import GatewayError

_SAID = ("content", "reasoning", "tool_calls", "refusal", "images", "audio", "annotations", "reasoning_details")


class Identity(NamedTuple):
    """What every body and chunk of one answer carries."""

    id: str
    created: int
    model: str
    provider: str


class Tally(Struct):
    """What has gone by: enough to settle the request at any moment, also in the middle of a stream."""

    usage: Usage | None = None
    completion_characters: int = 0
    has_reasoning: bool = False
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    upstream_id: str | None = None
    text: list[str] | None = None

    def count(self, said: JSON) -> None:
        """Count the text of a message or delta, and keep it where the answer is to be logged."""
        content = said.get("content")
        if isinstance(content, str) and content:
            self.completion_characters += len(content)
            if self.text is not None:
                self.text.append(content)
        if reasoning := said.get("reasoning"):
            self.completion_characters += len(reasoning)
            self.has_reasoning = True
        for call in said.get("tool_calls") or ():
            self.completion_characters += len(call["function"].get("arguments") or "")

    def settle(self, prompt_characters: int) -> Usage:
        """The provider's usage or, if it sent none, an estimate.

        Anthropic reports its counts when a stream begins and again when it ends: of a stream that broke off or was left, the
        first report knows nothing of the answer, so what went by counts if it is more.
        """
        usage = self.usage
        if usage is not None and self.finish_reason is not None:
            return usage
        estimated = estimate(prompt_characters, self.completion_characters)
        if usage is None:
            return estimated
        missing = estimated.completion_tokens - usage.completion_tokens
        if missing <= 0:
            return usage
        return structs.replace(usage, completion_text=usage.completion_text + missing, is_estimated=True)


def has_content(chunk: Chunk) -> bool:
    """Whether `chunk` says something, so that after it no other provider may answer instead."""
    return any(choice["delta"].get(key) for choice in chunk.choices for key in _SAID)


def is_answer(completion: Completion) -> bool:
    """Whether a whole answer is one: it says something, or the provider counted tokens for saying nothing."""
    if any(choice["message"].get(key) for choice in completion.choices for key in _SAID):
        return True
    if completion.usage is not None and completion.usage.completion_tokens > 0:
        return True
    return any(choice["finish_reason"] in ("length", "content_filter") for choice in completion.choices)


def usage_json(usage: Usage, charged: Cost) -> JSON:
    """OpenRouter's `usage` object, complete with numbers everywhere."""
    prompt_tokens, completion_tokens = usage.prompt_tokens, usage.completion_tokens
    total = float(charged.total)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "cost": total,
        "is_byok": False,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
            "audio_tokens": usage.prompt_audio + usage.cache_read_audio,
            "video_tokens": 0,
        },
        "cost_details": {
            "upstream_inference_cost": total,
            "upstream_inference_prompt_cost": float(charged.prompt),
            "upstream_inference_completions_cost": float(charged.completion),
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "image_tokens": usage.completion_image,
            "audio_tokens": usage.completion_audio,
        },
    }


def body(completion: Completion, identity: Identity, usage: Usage, charged: Cost) -> JSON:
    """The whole answer of a request that does not stream."""
    choices = []
    for choice in completion.choices:
        message = choice["message"]
        message.setdefault("refusal", None)
        message.setdefault("reasoning", None)
        choices.append({"logprobs": None, **choice})
    return {
        "id": identity.id,
        "object": "chat.completion",
        "created": identity.created,
        "model": identity.model,
        "provider": identity.provider,
        "system_fingerprint": None,
        "service_tier": None,
        **completion.extra,
        "choices": choices,
        "usage": usage_json(usage, charged),
    }


def tally_of(completion: Completion, *, keep_text: bool = False) -> Tally:
    """The tally of a whole answer."""
    tally = Tally(usage=completion.usage, upstream_id=completion.upstream_id, text=[] if keep_text else None)
    for choice in completion.choices:
        tally.count(choice["message"])
        tally.finish_reason = choice["finish_reason"]
        tally.native_finish_reason = choice["native_finish_reason"]
    return tally


@dataclass(slots=True)
class StreamRelay:
    """Turns the chunks of one answer into events and keeps the tally.

    `hide_reasoning` is the caller's `reasoning.exclude`. Usage is held back until `finish`, because it goes out with the cost,
    and the cost goes out only after the request has been recorded.
    """

    identity: Identity
    tally: Tally = field(default_factory=Tally)
    hide_reasoning: bool = False
    _head: JSON = field(init=False)
    _last_choices: dict[int, JSON] = field(init=False, default_factory=dict)
    _said_apart: JSON = field(init=False, default_factory=dict)
    """What came in chunks without choices, such as Azure's `prompt_filter_results`: it goes out with the usage."""

    def __post_init__(self) -> None:
        self._head = _head(self.identity)

    def go_on(self, identity: Identity) -> None:
        """The answer is continued by somebody else, whose share is tallied separately."""
        self.identity, self._head = identity, _head(identity)
        self.tally = Tally(text=self.tally.text)
        self._last_choices = {}

    def events(self, chunks: list[Chunk]) -> bytes:
        """The events for `chunks`, ready to be sent."""
        return b"".join([self._event(chunk) for chunk in chunks])

    def _event(self, chunk: Chunk) -> bytes:
        tally = self.tally
        if chunk.usage is not None:
            tally.usage = chunk.usage
        if chunk.upstream_id and tally.upstream_id is None:
            tally.upstream_id = chunk.upstream_id
        if not chunk.choices:
            self._said_apart |= chunk.extra
            return b""
        for choice in chunk.choices:
            delta = choice["delta"]
            tally.count(delta)
            if self.hide_reasoning:
                delta.pop("reasoning", None)
                delta.pop("reasoning_details", None)
            if choice["finish_reason"] is not None:
                tally.finish_reason = choice["finish_reason"]
                tally.native_finish_reason = choice["native_finish_reason"]
                self._last_choices[choice["index"]] = {
                    "index": choice["index"],
                    "delta": {"role": "assistant", "content": ""},
                    "finish_reason": choice["finish_reason"],
                    "native_finish_reason": choice["native_finish_reason"],
                }
        return sse.event(orjson.dumps({**self._head, **chunk.extra, "choices": chunk.choices}))

    def finish(self, usage: Usage, charged: Cost) -> bytes:
        """The usage event, which repeats the finish as OpenRouter does, and `[DONE]`."""
        choices = list(self._last_choices.values())
        last = {**self._head, "service_tier": None, **self._said_apart, "choices": choices}
        return sse.event(orjson.dumps({**last, "usage": usage_json(usage, charged)})) + sse.DONE

    def error(self, error: GatewayError) -> bytes:
        """The error as a whole chunk, then `[DONE]`: a bare error object breaks OpenRouter's own SDKs (openrouter.md 3)."""
        chunk = {
            **self._head,
            "error": error.body(),
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": ""},
                    "finish_reason": "error",
                    "native_finish_reason": None,
                }
            ],
        }
        return sse.event(orjson.dumps(chunk, default=str)) + sse.DONE


def _head(identity: Identity) -> JSON:
    return {
        "id": identity.id,
        "object": "chat.completion.chunk",
        "created": identity.created,
        "model": identity.model,
        "provider": identity.provider,
    }


def charge(usage: Usage, prices: Prices, finish_reason: str | None) -> Cost:
    """What the caller pays."""
    return FREE if is_free(usage, finish_reason) else cost(usage, prices)


def without_reasoning(completion: Completion) -> Completion:
    """`completion` for a caller who asked not to see the reasoning (`reasoning.exclude`)."""
    for choice in completion.choices:
        choice["message"].pop("reasoning", None)
        choice["message"].pop("reasoning_details", None)
    return completion


def text_of(parts: list[str] | None) -> str | None:
    return "".join(parts) if parts is not None else None
