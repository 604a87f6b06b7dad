"""OpenRouter's reasoning effort as a number of tokens (openrouter.md 1.1). Pure."""

from __future__ import annotations

from typing import Any

SHARES = {"max": 0.95, "xhigh": 0.95, "high": 0.8, "medium": 0.5, "low": 0.2, "minimal": 0.1}
EFFORTS = tuple(SHARES)
BUDGET_MAX_TOKENS = 128_000
BUDGET_MIN_TOKENS = 1_024


def budget_tokens(effort: str, max_tokens: int) -> int:
    """How many tokens a model that takes only a budget may think at `effort`, for an answer of `max_tokens`."""
    return int(max(min(max_tokens * SHARES[effort], BUDGET_MAX_TOKENS), BUDGET_MIN_TOKENS))


def unify(chat: dict[str, Any]) -> None:
    """Fold `reasoning_effort`, `include_reasoning` and legacy spellings into one `reasoning` object, in place.

    The object wins over the shorthands; an absent wish leaves no `reasoning` at all.
    """
    reasoning = {key: value for key, value in (chat.pop("reasoning", None) or {}).items() if value is not None}
    effort = chat.pop("reasoning_effort", None)
    include = chat.pop("include_reasoning", None)
    if effort is not None:
        reasoning.setdefault("effort", effort)
    if include is False:
        reasoning.setdefault("exclude", True)
    if reasoning:
        chat["reasoning"] = reasoning
