"""Tools and the choice among them in Anthropic's words. Pure.

Differs from OpenAI in: a tool is flat and its schema is `input_schema`, always of an object; "required" is called "any";
`parallel_tool_calls: false` is `disable_parallel_tool_use` inside the choice; a choice without tools is refused, so it is left
out then. Web search, as OpenRouter names it in `tools`, `plugins` or `web_search_options`, is Anthropic's own tool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from completions.dialects.anthropic import caching, schema
from completions.dialects.anthropic.abilities import Abilities
from completions.dialects.base import JSON
from gateway_project.errors import InvalidRequest

WEB_SEARCH = "web_search"
WEB_SEARCH_TYPE = "web_search_20250305"
"""The variant that every model takes; later ones (20260209, 20260318) need Claude 4.6 and run code (read November 2026)."""

_WEB_SEARCH_NAMES = ("openrouter:web_search", "web_search", "web_search_preview")
_OWN_TYPE = re.compile(r"[a-z_]+_20\d{6}")
_SEARCH_FIELDS = {
    "max_uses": "max_uses",
    "allowed_domains": "allowed_domains", "include_domains": "allowed_domains",
    "blocked_domains": "blocked_domains", "exclude_domains": "blocked_domains", "excluded_domains": "blocked_domains",
}  # fmt: skip
_LOCATION_FIELDS = ("city", "region", "country", "timezone")


def build(chat: Mapping[str, Any], abilities: Abilities) -> list[JSON]:
    """The `tools` of a request, web search last. Raises `InvalidRequest` naming a tool that only others know."""
    tools = [_tool(tool, f"tools[{position}]", abilities) for position, tool in enumerate(chat.get("tools") or ())]
    asked = _search_outside_tools(chat)
    if asked is not None and not any(tool["name"] == WEB_SEARCH for tool in tools):
        tools.append(_web_search(asked))
    return tools


def _tool(tool: Any, field: str, abilities: Abilities) -> JSON:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind == "function" and isinstance(tool.get("function"), dict):
        return _function(tool, field, abilities)
    if kind in _WEB_SEARCH_NAMES:
        return _web_search({**tool, **_object(tool.get("parameters"))})
    if isinstance(kind, str) and _OWN_TYPE.fullmatch(kind) and tool.get("name"):
        return {**tool, **caching.of_part(tool, field)}
    raise InvalidRequest(
        f"{field}.type is {kind!r}, which Anthropic does not know; send a function with a name, or openrouter:web_search."
    )


def _function(tool: JSON, field: str, abilities: Abilities) -> JSON:
    function = tool["function"]
    parameters = {"type": "object", **(_object(function.get("parameters")) or {"properties": {}})}
    is_strict = function.get("strict") is True and abilities.takes_schema
    result: JSON = {"name": function.get("name") or ""}
    if function.get("description"):
        result["description"] = function["description"]
    result["input_schema"] = schema.restricted(parameters) if is_strict else parameters
    if is_strict:
        result["strict"] = True
    if isinstance(tool.get("eager_input_streaming"), bool):
        result["eager_input_streaming"] = tool["eager_input_streaming"]
    return {**result, **caching.of_part(function, field), **caching.of_part(tool, field)}


def _search_outside_tools(chat: Mapping[str, Any]) -> JSON | None:
    """What `plugins` or `web_search_options` ask of web search, None where they ask for none."""
    for plugin in chat.get("plugins") or ():
        if plugin.get("id") == "web" and plugin.get("enabled") is not False and plugin.get("engine") in (None, "native"):
            return dict(plugin)
    options = chat.get("web_search_options")
    return dict(options) if isinstance(options, dict) else None


def _web_search(asked: JSON) -> JSON:
    """Anthropic's web search. `max_results`, `search_prompt`, `mode` and `search_context_size` have no counterpart: ignored."""
    tool: JSON = {"type": WEB_SEARCH_TYPE, "name": WEB_SEARCH}
    for name, own in _SEARCH_FIELDS.items():
        if asked.get(name):
            tool[own] = asked[name]
    location = asked.get("user_location")
    if isinstance(location, dict):
        place = {**location, **_object(location.get("approximate"))}
        tool["user_location"] = {
            "type": "approximate",
            **{name: place[name] for name in _LOCATION_FIELDS if place.get(name)},
        }
    return tool


def choice(chat: Mapping[str, Any], tools: list[JSON]) -> JSON | None:
    """The `tool_choice` of a request that has `tools`. Raises `InvalidRequest` for a choice that Anthropic has not."""
    if not tools:
        return None
    asked = chat.get("tool_choice")
    chosen = _named(asked) if isinstance(asked, dict) else _WORDS.get(asked or "auto")
    if chosen is None:
        raise InvalidRequest(
            f"tool_choice is {asked!r}; Anthropic takes none, auto, required or "
            '{"type": "function", "function": {"name": …}}.'
        )
    if chat.get("parallel_tool_calls") is False and chosen["type"] != "none":
        return {**chosen, "disable_parallel_tool_use": True}
    return None if asked is None else dict(chosen)


_WORDS: dict[str, JSON] = {"none": {"type": "none"}, "auto": {"type": "auto"}, "required": {"type": "any"}}


def _named(asked: JSON) -> JSON | None:
    if asked.get("type") in _WEB_SEARCH_NAMES:
        return {"type": "tool", "name": WEB_SEARCH}
    name = _object(asked.get("function")).get("name")
    return {"type": "tool", "name": name} if asked.get("type") == "function" and name else None


def _object(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def forces_a_call(chosen: JSON | None) -> bool:
    return chosen is not None and chosen["type"] in ("any", "tool")
