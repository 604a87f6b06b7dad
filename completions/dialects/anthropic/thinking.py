"""OpenRouter's `reasoning` (openrouter.md 1.1) as Anthropic's `thinking` and `output_config.effort`. Pure.

Differs from OpenAI in:
- Models up to 4.5 think within a budget of tokens: `reasoning.max_tokens`, or the share of `max_tokens` that the effort
  stands for; at least 1024 and less than `max_tokens`, for the answer shares them.
- Later ones think adaptively, at an effort. `reasoning.max_tokens` is then ignored, as OpenRouter does
  (openrouter.ai/docs, Claude 4.7 migration guide, read November 2026), but 4.6, which still takes a budget, gets it.
- "minimal" is "low", and a level that a model lacks is the next one below. `verbosity` is the effort where `reasoning` names
  none, as on OpenRouter (same page).
- A forced tool call wins over thinking: "Thinking may not be enabled when tool_choice forces tool use" (400, seen 2026).
  `tool_choice` itself goes as it is, also to models that refuse to be forced (Opus 5.5, Sonnet 5.5, Fable 5.1).
- `reasoning.summary`, `context` and `mode` are ignored. Adaptive models, which send empty thinking by default, are asked for
  the summary, unless `exclude` is set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from completions import reasoning as openrouter
from completions.dialects.anthropic import turns as conversation
from completions.dialects.anthropic.abilities import Abilities, Off
from completions.dialects.base import JSON
from gateway_project.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Thinking:
    """`config` is the request's `thinking`, `effort` its `output_config.effort`; None: not sent."""

    config: JSON | None = None
    effort: str | None = None

    @property
    def is_on(self) -> bool:
        return self.config is not None and self.config["type"] in ("enabled", "adaptive")


def build(
    chat: Mapping[str, Any], abilities: Abilities, turns: Sequence[JSON], *, max_tokens: int, forces_a_call: bool
) -> Thinking:
    """How to ask for the reasoning that `chat` wants. Raises `InvalidRequest` for a wish that the model cannot fulfil."""
    wish = chat.get("reasoning") or {}
    effort = wish.get("effort")
    verbosity = abilities.nearest_effort(chat["verbosity"]) if chat.get("verbosity") else None
    if effort == "none" or wish.get("enabled") is False:
        return _off(wish, abilities, verbosity)
    if not (effort or wish.get("max_tokens") or wish.get("enabled")):
        return Thinking(effort=verbosity)
    wants_budget = not abilities.takes_adaptive or (abilities.takes_budget and not effort and wish.get("max_tokens"))
    if not wants_budget:
        level = abilities.nearest_effort(effort) if effort else verbosity
        display = "omitted" if wish.get("exclude") else "summarized"
        return Thinking(None if forces_a_call else {"type": "adaptive", "display": display}, level)
    if forces_a_call or conversation.is_open_tool_loop_without_thinking(turns):
        return Thinking(effort=verbosity)
    return Thinking({"type": "enabled", "budget_tokens": _budget(wish, max_tokens)}, verbosity)


def _off(wish: Mapping[str, Any], abilities: Abilities, effort: str | None) -> Thinking:
    """No thinking. Models that can be told so accept only efforts up to high then (400 otherwise; read November 2026)."""
    if abilities.off is Off.NEVER:
        field = "reasoning.effort" if wish.get("effort") == "none" else "reasoning.enabled"
        raise InvalidRequest(f"{field}: this model always reasons. Leave it out, or choose a low effort.")
    if abilities.off is Off.OMIT:
        return Thinking(effort=effort)
    return Thinking({"type": abilities.off.value}, "high" if effort in ("xhigh", "max") else effort)


def _budget(wish: Mapping[str, Any], max_tokens: int) -> int:
    if max_tokens <= openrouter.BUDGET_MIN_TOKENS:
        raise InvalidRequest(
            f"max_tokens is {max_tokens}, which leaves no room for reasoning: this model reasons with at least "
            f"{openrouter.BUDGET_MIN_TOKENS} tokens out of max_tokens. Raise max_tokens, or leave reasoning out."
        )
    asked: int | None = wish.get("max_tokens")
    if asked:
        return min(max(asked, openrouter.BUDGET_MIN_TOKENS), max_tokens - 1)
    effort = wish.get("effort")
    share = effort if effort in openrouter.SHARES else "medium"
    return min(openrouter.budget_tokens(share, max_tokens), max_tokens - 1)
