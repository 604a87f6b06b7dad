"""OpenRouter's `reasoning` (openrouter.md 1.1) in the words of an OpenAI-compatible provider, and earlier reasoning for it. Pure.

How a provider is asked is its `reasoning_input`; which efforts it knows, its `reasoning_efforts` (empty: whatever it is sent). An
effort that it does not know becomes the next higher one, else its highest: so DeepSeek and Z.AI themselves map "medium" to "high"
(api-docs.deepseek.com/guides/thinking_mode, docs.z.ai/guides/overview/migrate-to-glm-new, read November 2026).
`reasoning.max_tokens` becomes the largest effort whose share of the answer fits into it, since none of these providers takes a
number. `summary`, `context` and `mode` are ignored, `exclude` is the relay's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.entries import AdapterEntry, Quirks, ReasoningEcho, ReasoningInput
from completions.dialects.base import JSON
from completions.reasoning import EFFORTS, budget_tokens

_DEFAULT_ANSWER_TOKENS = 32_000
"""What a budget is measured against where the request does not say how long the answer may be."""

_FORGOTTEN = " "
"""Stands for reasoning that a provider insists on and nobody remembers. Not empty, because Moonshot takes "" for missing
(github.com/theopenco/llmgateway/pull/2093, April 2026); DeepSeek takes any text."""


_SWITCHED = frozenset({ReasoningInput.THINKING, ReasoningInput.CHAT_TEMPLATE})
"""Ways of asking that are a switch, and whose providers may have it on where nothing is said: DeepSeek serves one model under the
names of two and thinks unless told not to (api-docs.deepseek.com/guides/thinking_mode, read November 2026)."""


def with_default(chat: Mapping[str, Any], adapter: AdapterEntry) -> Mapping[str, Any]:
    """`chat`, told not to reason where it says nothing and the model's card promises that it then does not."""
    promised = adapter.reasons_by_default is False and adapter.provider.quirks.reasoning_input in _SWITCHED
    return {**chat, "reasoning": {"enabled": False}} if promised and "reasoning" not in chat else chat


def ask(body: JSON, chat: Mapping[str, Any], quirks: Quirks) -> None:
    """Write the wish of `chat` into `body`. Nothing is written where there is no wish, or no word for it."""
    wish = chat.get("reasoning") or {}
    effort = wish.get("effort") or ("medium" if wish.get("enabled") else None)
    is_off = effort == "none" or wish.get("enabled") is False
    if effort is None and wish.get("max_tokens"):
        effort = _effort_within(wish["max_tokens"], chat.get("max_tokens") or _DEFAULT_ANSWER_TOKENS)
    if effort is None and not is_off:
        return
    effort = "none" if is_off else _nearest(effort or "medium", quirks.reasoning_efforts)
    match quirks.reasoning_input:
        case ReasoningInput.OPENROUTER:
            body["reasoning"] = wish
        case ReasoningInput.EFFORT:
            body["reasoning_effort"] = effort
        case ReasoningInput.THINKING | ReasoningInput.ADAPTIVE_THINKING:
            on = "adaptive" if quirks.reasoning_input == ReasoningInput.ADAPTIVE_THINKING else "enabled"
            body["thinking"] = {"type": "disabled" if is_off else on}
            if quirks.reasoning_efforts and not is_off:
                body["reasoning_effort"] = effort
        case ReasoningInput.CHAT_TEMPLATE:
            # Templates differ: Qwen and GLM read enable_thinking, DeepSeek's reads thinking; what a template does not know
            # it ignores (docs.vllm.ai, docs.sglang.io on reasoning, read November 2026).
            template: JSON = {"enable_thinking": not is_off, "thinking": not is_off}
            if quirks.reasoning_efforts and not is_off:
                template["reasoning_effort"] = effort
            body["chat_template_kwargs"] = template | (body.get("chat_template_kwargs") or {})


def _effort_within(budget: int, answer_tokens: int) -> str:
    fitting = (effort for effort in ("high", "medium", "low") if budget_tokens(effort, answer_tokens) <= budget)
    return next(fitting, EFFORTS[-1])


def _nearest(effort: str, known: tuple[str, ...]) -> str:
    if not known or effort in known:
        return effort
    rank = EFFORTS.index(effort) if effort in EFFORTS else 0
    ascending = reversed(EFFORTS[:rank])
    return next((higher for higher in ascending if higher in known), min(known, key=_rank))


def _rank(effort: str) -> int:
    """0 is the highest effort."""
    return EFFORTS.index(effort) if effort in EFFORTS else len(EFFORTS)


def echo(changed: JSON, message: JSON, quirks: Quirks, *, has_tools: bool) -> None:
    """Put into `changed` what the provider wants to see again of the reasoning in `message`, an assistant's.

    `requires_reasoning_echo`: in a conversation with tools every message of the assistant must carry it, or the answer is 400
    "The `reasoning_content` in the thinking mode must be passed back to the API" (DeepSeek since V3.2) and "thinking is
    enabled but reasoning_content is missing" (Moonshot). Text-only messages of the same turn count too, and one too many is
    ignored (github.com/experientiallabs/experiential/pull/890, measured September 2026), so all of them get it. It is the
    provider's rule alone: without tools DeepSeek ignores it.
    """
    said = message.get("reasoning") or message.get("reasoning_content")
    match quirks.reasoning_echo:
        case ReasoningEcho.DETAILS if message.get("reasoning_details"):
            changed["reasoning_details"] = message["reasoning_details"]
        case ReasoningEcho.REASONING | ReasoningEcho.REASONING_CONTENT as field:
            if said:
                changed[str(field)] = said
            elif quirks.requires_reasoning_echo and has_tools:
                changed[str(field)] = _FORGOTTEN
