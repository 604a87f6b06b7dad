"""`reasoning` of a canonical request as Google's `thinkingConfig`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from completions.dialects.base import JSON
from completions.dialects.gemini.generation import Generation
from completions.reasoning import EFFORTS, budget_tokens
from gateway_project.errors import InvalidRequest

_LEVELS = {"max": "HIGH", "xhigh": "HIGH", "high": "HIGH", "medium": "MEDIUM", "low": "LOW", "minimal": "MINIMAL"}
"""XHIGH is in Google's enum, but no model is documented to take it (google-genai 3.4.0, November 2026)."""

_DEFAULT_OUTPUT = 65_536
"""What a Gemini answers at most when nobody says how much (Gemini 2.5 and 3 model cards, 2026)."""


def config(
    reasoning: Mapping[str, Any] | None, generation: Generation, *, max_tokens: int, shows_thoughts: bool
) -> JSON | None:
    """The `thinkingConfig`, None to leave the model its defaults. `max_tokens` bounds the whole answer.

    `shows_thoughts`: whether thoughts are returned to a caller that did not mention reasoning. Raises `InvalidRequest` for
    an effort that does not exist.
    """
    if not generation.can_think:
        return None
    if reasoning is None:
        return {"includeThoughts": True} if shows_thoughts else None
    effort, budget = reasoning.get("effort"), reasoning.get("max_tokens")
    if effort not in (None, "none", *EFFORTS):
        raise InvalidRequest(f"reasoning.effort {effort!r} is unknown; use one of {', '.join(EFFORTS)} or none")
    if reasoning.get("enabled") is False or effort == "none":
        return {"includeThoughts": False, **_least(generation)}
    if reasoning.get("enabled") and effort is None and budget is None:
        effort = "medium"
    return {"includeThoughts": not reasoning.get("exclude"), **_amount(effort, budget, generation, max_tokens)}


def _amount(effort: str | None, budget: int | None, generation: Generation, max_tokens: int) -> JSON:
    """Level or budget, never both: Google answers both with 400 (ai.google.dev/gemini-api/docs/gemini-3, 2026)."""
    if generation.thinks_in_levels:
        if budget is not None:
            return {"thinkingBudget": budget}
        return _level(effort, generation) if effort else {}
    if budget is None:
        if effort is None:
            return {}
        budget = budget_tokens(effort, max_tokens)
    smallest, largest = generation.budget_range
    return {"thinkingBudget": min(max(budget, smallest), largest)}


def _least(generation: Generation) -> JSON:
    """As little thinking as the model can do: none for 2.5 Flash, the lowest level or budget for the others."""
    if generation.thinks_in_levels:
        return _level("minimal", generation)
    return {"thinkingBudget": 0 if generation.can_stop_thinking else generation.budget_range[0]}


def _level(effort: str, generation: Generation) -> JSON:
    """The level for `effort`, or the nearest that the model takes; image models take none and think as they like."""
    if generation.makes_images:
        return {}
    level = _LEVELS[effort]
    if level not in generation.levels:
        level = {"MINIMAL": "LOW", "MEDIUM": "HIGH"}[level]
    return {"thinkingLevel": level}


def output_limit(asked: int | None, longest: int | None) -> int:
    """How many tokens the answer may have: what was asked, else what the model can, else Google's usual limit."""
    return asked or longest or _DEFAULT_OUTPUT
