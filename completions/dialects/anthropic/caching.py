"""`cache_control` markers: checked, placed, and kept to the number that Anthropic allows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from completions.dialects.base import JSON
from gateway_project.errors import InvalidRequest

MAX_BREAKPOINTS = 4
"""More are refused: "A maximum of 4 blocks with cache_control may be provided" (400, seen 2026)."""

TTLS = ("5m", "1h")
_UNMARKABLE = ("thinking", "redacted_thinking")


def marker(value: Any, field: str) -> JSON:
    """`value` as Anthropic's marker. Raises `InvalidRequest` naming `field`."""
    if isinstance(value, dict) and value.get("type") == "ephemeral":
        ttl = value.get("ttl")
        if ttl is None:
            return {"type": "ephemeral"}
        if ttl in TTLS:
            return {"type": "ephemeral", "ttl": ttl}
    raise InvalidRequest(
        f'{field} is {value!r}; Anthropic takes {{"type": "ephemeral"}}, with "ttl": "5m" or "1h" if you want to set it.'
    )


def of_part(part: JSON, field: str) -> JSON:
    """The marker of a content part or tool as an update for its block: empty where there is none.

    OpenRouter's `prompt_cache_breakpoint` (openrouter.md 1.2) is the same thing for another provider; of its lifetimes only
    Anthropic's own are kept.
    """
    if part.get("cache_control") is not None:
        return {"cache_control": marker(part["cache_control"], f"{field}.cache_control")}
    explicit = part.get("prompt_cache_breakpoint")
    if isinstance(explicit, dict):
        ttl = {"ttl": explicit["ttl"]} if explicit.get("ttl") in TTLS else {}
        return {"cache_control": {"type": "ephemeral", **ttl}}
    return {}


def mark_last(blocks: list[JSON], message: JSON, field: str) -> None:
    """Put a marker that stands on a whole message on the last of its blocks that can carry one."""
    if message.get("cache_control") is None:
        return
    found = of_part({"cache_control": message["cache_control"]}, field)
    for block in reversed(blocks):
        if block["type"] not in _UNMARKABLE:
            block.update(found)
            return


def limit(body: JSON) -> None:
    """Remove markers beyond the fourth, the earliest first: a later breakpoint covers all that stands before it.

    The top-level `cache_control` takes one of the four places.
    """
    marked = [block for block in _rendered(body) if "cache_control" in block]
    places = MAX_BREAKPOINTS - ("cache_control" in body)
    for block in marked[: max(0, len(marked) - places)]:
        del block["cache_control"]


def _rendered(body: JSON) -> Iterator[JSON]:
    """Every block of `body` in the order of the cached prefix: tools, system, messages."""
    yield from body.get("tools", ())
    yield from body.get("system", ())
    for turn in body["messages"]:
        for block in turn["content"]:
            if isinstance(block.get("content"), list):
                yield from block["content"]
            yield block
