"""The body of a Chat Completions request, put together from its parts. Pure. The rules are in the package's docstring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.entries import AdapterEntry, Quirks
from completions.dialects.base import JSON
from completions.dialects.openai import messages, reasoning
from gateway_project.errors import InvalidRequest

ROUTER_FIELDS = frozenset(
    {
        "models", "provider", "route", "plugins", "transforms", "preset", "session_id", "trace", "debug", "reasoning",
        "image_config", "cache_control", "prompt_cache_options", "deferred_tools", "stop_server_tools_when",
        "max_tool_calls", "x_search_filter", "usage", "include_reasoning", "stream_options",
    }
)  # fmt: skip
"""OpenRouter's own, which are ours to act on."""

OPENAI_FIELDS = frozenset(
    {
        "messages", "model", "audio", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens",
        "metadata", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
        "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
        "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
        "web_search_options",
    }
)  # fmt: skip
"""What OpenAI documents (openai 3.54.0, `completion_create_params`), without the retired `functions`."""

_TOOL_FIELDS = frozenset({"type", "function", "custom"})
_NAMES_OURS = ("models", "route", "preset")
_PREFERENCES_OURS = frozenset({"order", "only", "ignore", "options"})
_NOT_OPTIONAL = frozenset(
    {"model", "models", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"}
)
"""What `provider.options` cannot change: it has been routed, counted or promised before."""


def build(chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> JSON:
    """The request body as a dict ready for JSON. Raises `InvalidRequest` naming what this provider cannot be told."""
    quirks = adapter.provider.quirks
    body = _as_openrouter(chat) if quirks.speaks_openrouter else _as_others(reasoning.with_default(chat, adapter), quirks)
    body["model"] = adapter.upstream_model
    body["stream"] = stream
    if stream and quirks.accepts_stream_options:
        body["stream_options"] = {"include_usage": True}
    if "max_tokens" in body and quirks.max_tokens_field != "max_tokens":
        body[quirks.max_tokens_field] = body.pop("max_tokens")
    for key, value in quirks.extra_body.items():
        body.setdefault(key, value)
    body.update(_options(chat, adapter))
    return body


def _as_openrouter(chat: Mapping[str, Any]) -> JSON:
    body = {key: value for key, value in chat.items() if key not in _NAMES_OURS}
    if preferences := body.pop("provider", None):
        kept = {key: value for key, value in preferences.items() if key not in _PREFERENCES_OURS}
        if kept:
            body["provider"] = kept
    return body


def _as_others(chat: Mapping[str, Any], quirks: Quirks) -> JSON:
    body = {key: value for key, value in chat.items() if key not in ROUTER_FIELDS}
    body["messages"] = messages.build(chat["messages"], quirks)
    if "tools" in body:
        body["tools"] = [_tool(tool, f"tools[{place}]", quirks) for place, tool in enumerate(body["tools"])]
    _restrict_format(body, quirks)
    reasoning.ask(body, chat, quirks)
    if not quirks.accepts_unknown_fields:
        known = OPENAI_FIELDS | quirks.field_names.keys() | {str(quirks.reasoning_input)}
        body = {key: value for key, value in body.items() if key in known}
    for field, name in quirks.field_names.items():
        if field in body and name != field:
            value = body.pop(field)
            if name is not None:
                body[name] = value
    return body


def _tool(tool: JSON, field: str, quirks: Quirks) -> JSON:
    if tool["type"].startswith("openrouter:"):
        raise InvalidRequest(
            f"{field}.type is {tool['type']!r}, which OpenRouter alone runs. Leave it out, or choose a model served by it."
        )
    if not quirks.accepts_unknown_fields:
        return {key: value for key, value in tool.items() if key in _TOOL_FIELDS}
    if "cache_control" in tool and not quirks.accepts_cache_control:
        return {key: value for key, value in tool.items() if key != "cache_control"}
    return tool


def _restrict_format(body: JSON, quirks: Quirks) -> None:
    """Ask in words for a schema that the provider cannot be held to. JSON itself it can (DeepSeek, Z.AI: JSON mode)."""
    wanted = body.get("response_format") or {}
    if quirks.accepts_json_schema or wanted.get("type") != "json_schema":
        return
    body["response_format"] = {"type": "json_object"}
    schema = (wanted.get("json_schema") or {}).get("schema")
    if schema is not None:
        body["messages"] = messages.asks_in_words(body["messages"], schema)


def _options(chat: Mapping[str, Any], adapter: AdapterEntry) -> Mapping[str, Any]:
    """`provider.options` for this provider (openrouter.md 1.3)."""
    slug = adapter.provider.slug
    options: Mapping[str, Any] = ((chat.get("provider") or {}).get("options") or {}).get(slug) or {}
    for key in options:
        if key in _NOT_OPTIONAL:
            raise InvalidRequest(f"provider.options.{slug}.{key} cannot be set there; give {key} at the top level.")
    return options
