"""A canonical request in the words of an OpenAI-compatible provider: what `Quirks` says, nothing else is changed.

Ignored by rule: `top_logprobs` and friends travel as they are, since such providers ignore or refuse them themselves;
OpenRouter's routing fields (`ROUTER_FIELDS`) are ours to act on and are never sent to anyone but another OpenRouter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.entries import AdapterEntry, Quirks, ReasoningEcho, ReasoningInput
from completions.dialects.base import JSON
from completions.reasoning import EFFORTS, budget_tokens
from gateway_project.errors import InvalidRequest

ROUTER_FIELDS = frozenset(
    {
        "models", "provider", "route", "plugins", "transforms", "preset", "session_id", "trace", "debug", "reasoning",
        "image_config", "cache_control", "prompt_cache_options", "deferred_tools", "stop_server_tools_when",
        "max_tool_calls", "x_search_filter", "usage", "include_reasoning", "stream_options",
    }
)  # fmt: skip
OPENAI_FIELDS = frozenset(
    {
        "messages", "model", "audio", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens",
        "metadata", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
        "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
        "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
        "web_search_options",
    }
)  # fmt: skip


def build(chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> JSON:
    """The request body as a dict ready for JSON."""
    quirks = adapter.provider.quirks
    body: JSON = dict(chat) if quirks.speaks_openrouter else {k: v for k, v in chat.items() if k not in ROUTER_FIELDS}
    for consumed in ("models", "route", "preset"):
        body.pop(consumed, None)
    body["model"] = adapter.upstream_model
    body["messages"] = [_message(message, quirks) for message in chat["messages"]]
    body["stream"] = stream
    if stream and quirks.accepts_stream_options:
        body["stream_options"] = {"include_usage": True}
    if "max_tokens" in body and quirks.max_tokens_field != "max_tokens":
        body[quirks.max_tokens_field] = body.pop("max_tokens")
    if not quirks.speaks_openrouter:
        _ask_to_reason(body, chat.get("reasoning"), quirks)
        body.update((chat.get("provider") or {}).get("options", {}).get(adapter.provider.slug) or {})
    if not quirks.accepts_json_schema and (body.get("response_format") or {}).get("type") == "json_schema":
        body["response_format"] = {"type": "json_object"}
    if not quirks.accepts_unknown_fields:
        body = {key: value for key, value in body.items() if key in OPENAI_FIELDS and value is not None}
        if "tools" in body:
            body["tools"] = [
                {k: v for k, v in tool.items() if k in ("type", "function", "custom")} for tool in body["tools"]
            ]
    return body


def _ask_to_reason(body: JSON, reasoning: Any, quirks: Quirks) -> None:
    """Write the canonical `reasoning` object the way this provider reads it (openrouter.md 1.1)."""
    if not isinstance(reasoning, dict):
        return
    effort = reasoning.get("effort") or ("medium" if reasoning.get("enabled") else None)
    budget = reasoning.get("max_tokens")
    is_off = effort == "none" or reasoning.get("enabled") is False
    if not (effort or budget or is_off):
        return
    match quirks.reasoning_input:
        case ReasoningInput.OPENROUTER:
            body["reasoning"] = reasoning
        case ReasoningInput.EFFORT:
            body["reasoning_effort"] = "none" if is_off else effort or _effort_of(budget or 0)
        case ReasoningInput.THINKING:
            body["thinking"] = {"type": "disabled" if is_off else "enabled"}
        case ReasoningInput.CHAT_TEMPLATE:
            template = {"enable_thinking": not is_off, "thinking": not is_off}
            body["chat_template_kwargs"] = {**template, **(body.get("chat_template_kwargs") or {})}


def _effort_of(budget: int) -> str:
    """The largest effort whose share of a 32,000-token answer fits into `budget`."""
    fitting = [effort for effort in ("high", "medium", "low") if budget_tokens(effort, 32_000) <= budget]
    return fitting[0] if fitting else EFFORTS[-1]


def _message(message: JSON, quirks: Quirks) -> JSON:
    if quirks.speaks_openrouter:
        return message
    role = message.get("role")
    changed: JSON = {
        key: value
        for key, value in message.items()
        if key
        not in ("reasoning", "reasoning_content", "reasoning_details", "cache_control", "annotations", "model", "images")
        and value is not None
    }
    if role == "developer" and not quirks.accepts_developer_role:
        changed["role"] = "system"
    if role == "assistant":
        _echo_reasoning(changed, message, quirks.reasoning_echo)
        if message.get("content") is None:
            changed["content"] = None if quirks.accepts_null_content else ""
    content = changed.get("content")
    if isinstance(content, list):
        changed["content"] = _plain(content) if _must_be_string(content, quirks) else [_part(part) for part in content]
    return changed


def _echo_reasoning(changed: JSON, message: JSON, echo: ReasoningEcho) -> None:
    said = message.get("reasoning") or message.get("reasoning_content")
    if echo is ReasoningEcho.DETAILS and message.get("reasoning_details"):
        changed["reasoning_details"] = message["reasoning_details"]
    elif echo in (ReasoningEcho.REASONING, ReasoningEcho.REASONING_CONTENT) and said:
        changed[echo.value] = said


def _must_be_string(content: list[Any], quirks: Quirks) -> bool:
    if quirks.accepts_content_parts:
        return False
    for position, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") != "text":
            raise InvalidRequest(
                f"content[{position}]: this provider takes text only, not {part.get('type') if isinstance(part, dict) else part!r}"
            )
    return True


def _plain(content: list[JSON]) -> str:
    return "\n".join(part["text"] for part in content)


def _part(part: Any) -> Any:
    """A content part without OpenRouter's cache markers, which others refuse."""
    if isinstance(part, dict) and ("cache_control" in part or "prompt_cache_breakpoint" in part):
        return {key: value for key, value in part.items() if key not in ("cache_control", "prompt_cache_breakpoint")}
    return part
