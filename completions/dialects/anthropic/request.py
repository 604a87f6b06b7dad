"""The body of a Messages request, put together from its parts. Pure; the rules are told in the package's docstring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from catalog.entries import AdapterEntry
from completions.dialects.anthropic import abilities as generations
from completions.dialects.anthropic import caching, schema, thinking, tools, turns
from completions.dialects.anthropic.abilities import Abilities
from completions.dialects.base import JSON
from gateway_project.errors import InvalidRequest

DEFAULT_MAX_TOKENS = 4096
"""Anthropic requires `max_tokens`. Used where neither the caller nor the adapter says one."""

_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "priority": "auto", "fast": "auto"}
_JSON_ONLY = "Answer with a single valid JSON object and nothing else: no explanation and no code fence."


def build(chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> JSON:
    """The body for `chat`. Raises `InvalidRequest` naming the field that Anthropic has no words for."""
    _refuse_unsayable(chat)
    model = generations.of(adapter.upstream_model)
    max_tokens = chat.get("max_tokens") or adapter.max_output_length or DEFAULT_MAX_TOKENS
    system, messages = turns.build(chat["messages"], model)
    body: JSON = {"model": adapter.upstream_model, "max_tokens": max_tokens}
    if stream:
        body["stream"] = True
    available = tools.build(chat, model)
    choice = tools.choice(chat, available)
    reasoning = thinking.build(chat, model, messages, max_tokens=max_tokens, forces_a_call=tools.forces_a_call(choice))
    output_format, instruction = _response_format(chat.get("response_format"), model)
    if instruction:
        system.append({"type": "text", "text": instruction})
    output_config = {"effort": reasoning.effort, "format": output_format}
    optional = {
        "system": system,
        "tools": available,
        "tool_choice": choice,
        "thinking": reasoning.config,
        "output_config": {key: value for key, value in output_config.items() if value},
        **({} if reasoning.is_on else _sampling(chat, model)),
        "stop_sequences": _stop_sequences(chat.get("stop")),
        "service_tier": _service_tier(chat.get("service_tier")),
        "metadata": {"user_id": chat["user"]} if chat.get("user") else None,
    }
    body["messages"] = messages
    body.update({key: value for key, value in optional.items() if value not in (None, [], {})})
    if chat.get("cache_control") is not None:
        body["cache_control"] = caching.marker(chat["cache_control"], "cache_control")
    caching.limit(body)
    return body


def _refuse_unsayable(chat: Mapping[str, Any]) -> None:
    if (chat.get("n") or 1) > 1:
        raise InvalidRequest(f"n is {chat['n']}; Anthropic gives one answer per request. Send n=1, or several requests.")
    others = [modality for modality in chat.get("modalities") or () if modality != "text"]
    if others:
        raise InvalidRequest(f"modalities asks for {', '.join(map(str, others))}; Anthropic's models answer in text only.")
    if chat.get("audio"):
        raise InvalidRequest("audio: Anthropic's models answer in text only. Leave it out.")


def _sampling(chat: Mapping[str, Any], model: Abilities) -> JSON:
    """`temperature`, `top_p` and `top_k`, as far as the model takes them.

    Since Claude 4.7 none is taken (400 "`temperature` is deprecated for this model"), and with thinking none may be changed.
    Anthropic's temperature ends at 1. Claude takes `temperature` or `top_p`, not both ("cannot both be specified for this
    model", 400): the temperature wins. All seen 2026.
    """
    if not model.takes_sampling:
        return {}
    sampling: JSON = {}
    temperature, top_p, top_k = chat.get("temperature"), chat.get("top_p"), chat.get("top_k")
    if temperature is not None:
        sampling["temperature"] = min(max(temperature, 0), 1)
    if top_p is not None and not (model.is_claude and temperature is not None):
        sampling["top_p"] = top_p
    if top_k is not None and top_k > 0:
        sampling["top_k"] = top_k
    return sampling


def _stop_sequences(stop: Any) -> list[str]:
    sequences = [stop] if isinstance(stop, str) else list(stop or ())
    for sequence in sequences:
        if not str(sequence).strip():
            # 400 "stop_sequences: each stop sequence must contain non-whitespace" (seen 2025).
            raise InvalidRequest(f"stop holds {sequence!r}; Anthropic takes no stop sequence of white space alone.")
    return sequences


def _service_tier(tier: Any) -> str | None:
    """Anthropic has two tiers: `auto` uses the account's priority capacity where it has some, `standard_only` does not."""
    if tier is None:
        return None
    if not isinstance(tier, str) or tier not in _SERVICE_TIERS:
        raise InvalidRequest(f"service_tier is {tier!r}; Anthropic takes {', '.join(_SERVICE_TIERS)}.")
    return _SERVICE_TIERS[tier]


def _response_format(asked: Any, model: Abilities) -> tuple[JSON | None, str | None]:
    """`output_config.format` and an instruction for the system prompt, of which at most one is given.

    Anthropic has schemas since Claude 4.5 and no mode for JSON without one: that is asked for in words. So is a schema that is
    not strict, from a model without them.
    """
    kind = asked.get("type") if isinstance(asked, dict) else None
    if asked is None or kind == "text":
        return None, None
    if kind not in ("json_object", "json_schema"):
        raise InvalidRequest(f"response_format.type is {kind!r}; Anthropic takes text, json_object and json_schema.")
    wanted = asked.get("json_schema")
    if kind == "json_object" or not isinstance(wanted, dict) or not isinstance(wanted.get("schema"), dict):
        return None, _JSON_ONLY
    if model.takes_schema:
        return {"type": "json_schema", "schema": schema.restricted(wanted["schema"])}, None
    if wanted.get("strict"):
        raise InvalidRequest(
            "response_format.json_schema.strict: this model cannot be held to a schema. Leave strict out, or choose Claude 4.5 "
            "or later."
        )
    return None, f"{_JSON_ONLY} It must follow this JSON Schema:\n{orjson.dumps(wanted['schema']).decode()}"
