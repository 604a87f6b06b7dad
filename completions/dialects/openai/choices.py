"""Choices of an answer, whole or streamed, in canonical form. Pure.

Whatever is said beside what is named here (refusal, annotations, images, audio, `content_filter_results` of Azure,
`stop_reason` of vLLM …) is kept where it was; nulls and empty lists are left out, since clients refuse them (openrouter.md 9.1).

Reasoning comes as `reasoning` (vLLM since 0.16, Groq, Ollama, OpenRouter), as `reasoning_content` (DeepSeek, Moonshot, Z.AI,
SGLang, llama.cpp, older vLLM), as `reasoning_details` (OpenRouter, MiniMax; kept to the letter) or as parts of the content
(Mistral's `thinking`, docs.mistral.ai/capabilities/reasoning, mistralai 3.7.0, November 2026).
"""

from __future__ import annotations

from typing import Any

from completions.dialects.base import JSON
from completions.dialects.openai.calls import Calls

FINISH_REASONS = {
    "stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter", "error": "error",
    # Legacy OpenAI; Mistral (length of the model's context); Together and Fireworks; vLLM and SGLang on abort.
    "function_call": "tool_calls", "model_length": "length", "eos": "stop", "abort": "error",
    # What proxies of other vendors' models pass on; DeepSeek when it is overloaded; Z.AI's own names.
    "max_tokens": "length", "end_turn": "stop", "tool_use": "tool_calls", "insufficient_system_resource": "error",
    "sensitive": "content_filter", "network_error": "error", "model_context_window_exceeded": "length",
}  # fmt: skip
"""An unknown reason counts as "stop"; the native one is kept beside it."""

_SAID = frozenset({"role", "content", "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "function_call"})
_CHOICE = frozenset({"index", "delta", "message", "finish_reason", "logprobs", "usage"})


class ChoiceReader:
    """Reads choice number `index` of an answer: all pieces of it, or its one message."""

    __slots__ = ("calls", "index", "is_finished")

    def __init__(self, index: int, upstream_id: str | None) -> None:
        self.index = index
        self.is_finished = False
        self.calls = Calls(f"{upstream_id or ''}\0{index}")

    def read(self, choice: JSON, part: str) -> JSON:
        """`choice` in canonical form; `part` says where it speaks: "delta" or "message"."""
        said = choice.get(part) or {}
        content = said.get("content")
        spoken: JSON = {"role": "assistant", "content": content or "" if part == "delta" else content}
        if content and not isinstance(content, str):
            _read_parts(content, spoken)
        if len(said) > 1 or "content" not in said:
            self._read_rest(said, spoken)
        result: JSON = {"index": self.index, part: spoken, "finish_reason": None, "native_finish_reason": None}
        if native := choice.get("finish_reason"):
            self.is_finished = True
            finish = FINISH_REASONS.get(native, "stop")
            # Ollama and others say "stop" after calls too; agents wait for "tool_calls".
            result["finish_reason"] = "tool_calls" if finish == "stop" and self.calls else finish
            result["native_finish_reason"] = native
        if not choice.keys() <= _CHOICE:
            result |= {key: value for key, value in choice.items() if key not in _CHOICE and value is not None}
        if (logprobs := choice.get("logprobs")) is not None:
            result["logprobs"] = logprobs
        return result

    def _read_rest(self, said: JSON, spoken: JSON) -> None:
        """All of `said` but its content and role."""
        reasoning = said.get("reasoning") or said.get("reasoning_content")
        details = said.get("reasoning_details")
        if reasoning or details:
            _think(spoken, reasoning, details)
        if fragments := said.get("tool_calls"):
            spoken["tool_calls"] = [self.calls.read(fragment) for fragment in fragments]
        elif (legacy := said.get("function_call")) is not None:
            spoken["tool_calls"] = [self.calls.read({"index": 0, "function": legacy})]
        if not said.keys() <= _SAID:
            spoken |= {k: value for k, value in said.items() if k not in _SAID and value is not None and value != []}


def _think(spoken: JSON, reasoning: Any, details: Any) -> None:
    """Put reasoning into `spoken` in both of its forms, whichever was sent."""
    if not isinstance(reasoning, str):
        reasoning = "".join(detail.get("text") or detail.get("summary") or "" for detail in details or ())
    if reasoning:
        spoken["reasoning"] = reasoning
    spoken["reasoning_details"] = details or [_thought(reasoning)]


def _thought(text: str) -> JSON:
    return {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}


def _read_parts(parts: list[JSON], spoken: JSON) -> None:
    """Content that came as a list of parts: texts joined, thoughts as reasoning, images as images, others kept as they are."""
    texts, thoughts, images, others = [], [], [], []
    details: list[JSON] = []
    for part in parts:
        kind = part.get("type")
        if kind == "text":
            texts.append(part.get("text") or "")
        elif kind == "thinking":
            thinking = part.get("thinking")
            pieces = thinking if isinstance(thinking, list) else [{"text": thinking}]
            thought = "".join(piece.get("text") or "" for piece in pieces)
            thoughts.append(thought)
            signed = {"signature": part["signature"]} if part.get("signature") else {}
            details.append({**_thought(thought), **signed})
        elif kind == "image_url":
            images.append(part)
        else:
            others.append(part)
    spoken["content"] = "".join(texts)
    for key, found in (("images", images), ("content_parts", others)):
        if found:
            spoken[key] = found
    if thoughts:
        _think(spoken, "".join(thoughts), details)
