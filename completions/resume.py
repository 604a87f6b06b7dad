"""Going on with an answer that broke off in the middle, so that the client receives one whole answer. Pure.

Two ways. A provider that can is handed the beginning and asked to continue it (`continuation`). Any other is asked the same
question again, and what the client has already is skipped, as long as the new answer repeats it to the letter (`Replay`):
sampling makes that rare at high temperatures, and where it differs nothing is spliced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accounting.usage import CHARACTERS_PER_TOKEN
from catalog.entries import Continuation
from completions.dialects.base import JSON, Chunk
from gateway_project.errors import ProviderUnavailable


class AnswersDiffer(ProviderUnavailable):
    """A second answer does not begin as the first one did, so it cannot continue it. No fault of its provider."""

    counts_as_fault = False


@dataclass(slots=True)
class SaidCall:
    """A tool call as far as it has been sent."""

    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Said:
    """What the client has been sent of one answer with one choice."""

    reasoning: list[str] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    calls: list[SaidCall] = field(default_factory=list)
    has_other: bool = False
    """Something that cannot be compared, such as images, a refusal, signed reasoning or a second choice: then nothing is
    resumed."""

    def add(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            for choice in chunk.choices:
                delta = choice["delta"]
                if content := delta.get("content"):
                    self.content.append(content)
                if reasoning := delta.get("reasoning"):
                    self.reasoning.append(reasoning)
                for call in delta.get("tool_calls") or ():
                    self._add_call(call)
                if choice["index"] or any(delta[key] for key in delta.keys() - _COMPARED) or _is_signed(delta):
                    self.has_other = True

    def _add_call(self, call: JSON) -> None:
        while len(self.calls) <= call["index"]:
            self.calls.append(SaidCall())
        said = self.calls[call["index"]]
        said.name += call["function"].get("name") or ""
        said.arguments += call["function"].get("arguments") or ""


_COMPARED = frozenset({"role", "content", "reasoning", "reasoning_details", "tool_calls"})


def _is_signed(delta: JSON) -> bool:
    """Whether `delta` holds reasoning beyond its text, such as a signature, which no other answer repeats."""
    return any(detail.get("signature") or detail.get("data") for detail in delta.get("reasoning_details") or ())


def continuation(chat: Mapping[str, Any], said: Said, way: Continuation) -> JSON | None:
    """The request that asks a provider to go on after what was said, None where that cannot be asked.

    Only plain text can be: a tool call or a JSON value that stops half-way is not something a model goes on with reliably.
    `vllm`: `continue_final_message` (docs.vllm.ai, OpenAI-compatible server, read November 2026); `prefix`: DeepSeek's chat
    prefix completion (api-docs.deepseek.com, beta endpoint, read November 2026).
    """
    is_structured = (chat.get("response_format") or {}).get("type", "text") != "text"
    if way is Continuation.NONE or said.calls or is_structured or not said.content:
        return None
    text = "".join(said.content)
    begun: JSON = {"role": "assistant", "content": text}
    request: JSON = {**chat, "messages": [*chat["messages"], begun]}
    if way is Continuation.DEEPSEEK:
        begun["prefix"] = True
    else:
        request |= {"continue_final_message": True, "add_generation_prompt": False}
    if "max_tokens" in request:
        request["max_tokens"] = max(1, request["max_tokens"] - len(text) // CHARACTERS_PER_TOKEN)
    return request


class Replay:
    """Takes the chunks of a second answer and gives only what the first one had not said yet."""

    def __init__(self, said: Said) -> None:
        self._reasoning = _Repeated("".join(said.reasoning))
        self._content = _Repeated("".join(said.content))
        self._calls = [(_Repeated(call.name), _Repeated(call.arguments)) for call in said.calls]
        self._held: list[Chunk] = []

    def feed(self, chunks: list[Chunk]) -> list[Chunk]:
        """What is new in `chunks`. Raises `AnswersDiffer` as soon as the two answers do.

        What is new already while something old is still to come, as where two tool calls are told in another order, is held
        until all that is old has come.
        """
        for chunk in chunks:
            for choice in chunk.choices:
                if choice["index"]:
                    raise AnswersDiffer("A second provider gives another choice, where only the first can be gone on with")
                self._skip(choice["delta"])
                if choice["finish_reason"] is not None and not self.is_caught_up:
                    raise AnswersDiffer("A second provider's answer is shorter than what had been sent already")
            if self.is_caught_up or chunk.usage is not None or _says_something(chunk):
                self._held.append(chunk)
        if not self.is_caught_up:
            return []
        released, self._held = self._held, []
        return released

    @property
    def is_caught_up(self) -> bool:
        """Whether all that had been sent has been repeated."""
        return (
            self._reasoning.is_over
            and self._content.is_over
            and all(name.is_over and arguments.is_over for name, arguments in self._calls)
        )

    def _skip(self, delta: JSON) -> None:
        if reasoning := delta.get("reasoning"):
            self._skip_reasoning(delta, reasoning)
        if content := delta.get("content"):
            more = delta["content"] = self._content.skip(content)
            if more and (self._calls or not self._reasoning.is_over):
                raise AnswersDiffer("A second provider says something where the first one thought or called a tool")
        if calls := delta.pop("tool_calls", None):
            fragments = [new for call in calls if (new := self._skip_call(call)) is not None]
            if fragments:
                delta["tool_calls"] = fragments

    def _skip_reasoning(self, delta: JSON, reasoning: str) -> None:
        rest = self._reasoning.skip(reasoning)
        if rest and (self._content.text or self._calls):
            raise AnswersDiffer("A second provider reasons for longer than the first one did")
        if rest == reasoning:
            return
        delta.pop("reasoning_details", None)
        delta.pop("reasoning")
        if rest:
            delta["reasoning"] = rest
            delta["reasoning_details"] = [{"type": "reasoning.text", "text": rest, "format": "unknown", "index": 0}]

    def _skip_call(self, call: JSON) -> JSON | None:
        """The part of a tool call's fragment that is new; ids of calls that were begun already stay the first ones."""
        if not (self._reasoning.is_over and self._content.is_over):
            raise AnswersDiffer("A second provider calls a tool where the first one was still speaking")
        index = call["index"]
        if index >= len(self._calls):
            return call
        name, arguments = self._calls[index]
        if name.skip(call["function"].get("name") or ""):
            raise AnswersDiffer("A second provider calls another tool than the first one did")
        rest = arguments.skip(call["function"].get("arguments") or "")
        return {"index": index, "function": {"arguments": rest}} if rest else None


def _says_something(chunk: Chunk) -> bool:
    return any(value for choice in chunk.choices for key, value in choice["delta"].items() if key != "role")


class _Repeated:
    """A text that is to be heard once more before anything new."""

    __slots__ = ("_position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._position = 0

    @property
    def is_over(self) -> bool:
        return self._position == len(self.text)

    def skip(self, heard: str) -> str:
        """What of `heard` goes beyond the text. Raises `AnswersDiffer` where it deviates from it."""
        length = min(len(heard), len(self.text) - self._position)
        if self.text[self._position : self._position + length] != heard[:length]:
            raise AnswersDiffer("A second provider answers differently from the first one")
        self._position += length
        return heard[length:]
