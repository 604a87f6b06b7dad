"""What each generation of Claude accepts. Pure; knows model ids only, never a request.

The Messages API answers 400 to a parameter that a model's generation does not take, so the generation decides how a request
is said. It is read from the upstream model id, in Anthropic's spelling and in those of Bedrock, Vertex and OpenRouter
(`claude-opus-4-6`, `us.anthropic.claude-opus-4-8-v1:0`, `claude-sonnet-4-5@20250929`, `anthropic/claude-4.7-opus`).

Sources, read November 2026: platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting (which `thinking.type`
each model takes), the model table of github.com/anthropics/skills, skills/claude-api/SKILL.md of 6 October 2026 (sampling,
effort, system turns), platform.claude.com/docs/en/build-with-claude/structured-outputs.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass

EFFORTS = ("low", "medium", "high", "xhigh", "max")
"""Anthropic's effort levels, ascending."""

_FAMILY = re.compile(r"claude.*?(?P<family>haiku|sonnet|opus|fable|mythos)", re.DOTALL)
_AFTER = re.compile(r"(?:haiku|sonnet|opus|fable|mythos)-(?P<major>\d{1,2})(?!\d)(?:[-.](?P<minor>\d{1,2})(?!\d))?")
_BEFORE = re.compile(r"claude-(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?-(?:haiku|sonnet|opus)")


class Off(enum.Enum):
    """How a model is told not to think."""

    OMIT = "say nothing: it does not think unless asked"
    DISABLED = "disabled"
    BETWEEN_TOOLS = "between_tools"
    NEVER = "it always thinks"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one model takes. The defaults are those of the API before Claude 4.6, and of other vendors who speak it."""

    is_claude: bool = False
    takes_sampling: bool = True
    takes_budget: bool = True
    takes_adaptive: bool = False
    takes_schema: bool = False
    takes_system_turns: bool = False
    efforts: tuple[str, ...] = ()
    off: Off = Off.OMIT

    def nearest_effort(self, effort: str) -> str | None:
        """The level for OpenRouter's `effort`: itself, else the next one below, else the lowest; None if there are none."""
        if not self.efforts:
            return None
        rank = EFFORTS.index(effort) if effort in EFFORTS else 0
        return next((level for level in reversed(EFFORTS[: rank + 1]) if level in self.efforts), self.efforts[0])


@functools.lru_cache(maxsize=1024)
def of(upstream_model: str) -> Abilities:
    """The abilities of `upstream_model`. An id that names no Claude gets the defaults; a newer Claude those of the newest."""
    model = upstream_model.lower()
    named = _FAMILY.search(model)
    if not named and "claude" not in model:
        return Abilities()
    family = named["family"] if named else ""
    version = _version(model, family)
    if version < (4, 6):
        return Abilities(
            is_claude=True,
            takes_schema=version >= (4, 5),
            # Opus 4.5 is the one model without adaptive thinking that has effort levels.
            efforts=("low", "medium", "high") if family == "opus" and version == (4, 5) else (),
        )
    if version == (4, 6):
        return Abilities(is_claude=True, takes_adaptive=True, takes_schema=True, efforts=("low", "medium", "high", "max"))
    return Abilities(
        is_claude=True,
        takes_sampling=False,
        takes_budget=False,
        takes_adaptive=True,
        takes_schema=True,
        takes_system_turns=_takes_system_turns(family, version),
        efforts=EFFORTS,
        off=_off(family, version),
    )


def _version(model: str, family: str) -> tuple[int, int]:
    found = _AFTER.search(model) or _BEFORE.search(model)
    if found:
        return int(found["major"]), int(found["minor"] or 0)
    # claude-mythos-preview has no number; aliases such as claude-opus-latest mean the newest.
    return (5, 0) if family in ("mythos", "fable") else ((99, 0) if "latest" in model else (0, 0))


def _takes_system_turns(family: str, version: tuple[int, int]) -> bool:
    """`role: "system"` inside `messages`: since Opus 4.8, Fable 5, Mythos 5 and Sonnet 5.5; no Haiku is documented to."""
    if family == "haiku":
        return False
    return version >= {"opus": (4, 8), "sonnet": (5, 5)}.get(family, (5, 0))


def _off(family: str, version: tuple[int, int]) -> Off:
    if version < (5, 0):
        return Off.OMIT
    if family in ("fable", "mythos") or (family == "opus" and version >= (5, 5)):
        return Off.NEVER
    if family == "sonnet" and version >= (5, 5):
        return Off.BETWEEN_TOOLS
    return Off.DISABLED
