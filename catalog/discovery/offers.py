"""Lists of models as providers write them, made `Offer`s. Pure: bodies in, values out.

Only what is said in words that mean one thing is taken over. Prices, for one, are taken where they are OpenRouter's (decimal
strings, USD per token); numbers under other names may be per million or per thousand, and are left alone.

Sources, read on 2026-11-23: platform.claude.com/docs/en/api/models/list and anthropic 1.x `ModelInfo`; ai.google.dev/api/models;
openrouter 1.3.84 `Model`; platform.openai.com/docs/api-reference/models; vLLM's `ModelCard` (`max_model_len`, SGLang's too);
console.groq.com/docs/models (`context_window`, `active`); mistralai 3.7.0 (`max_context_length`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from catalog.entries import DialectName
from catalog.prices import OVERRIDES, PRICE_KEYS, Prices, PricingError

MAX_ID_CHARACTERS = 200
_MODALITIES = ("text", "image", "file", "audio", "video", "embeddings")
_REASONING = ("mandatory", "default_enabled", "default_effort", "supported_efforts", "supports_max_tokens")
_CONTEXT = ("context_length", "max_model_len", "context_window", "max_context_length")
_OUTPUT = ("max_output_length", "max_completion_tokens", "max_output_tokens")
_ABILITIES = frozenset(
    {
        "tools", "tool_choice", "parallel_tool_calls", "response_format", "structured_outputs", "reasoning",
        "include_reasoning", "reasoning_effort", "max_tokens", "max_completion_tokens",
    }
)  # fmt: skip
"""Supported parameters that a model's row says with columns of their own."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class Unreadable(ValueError):
    """The body is no list of models. `str()` says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that a provider says it serves. Lengths in tokens, None where it does not say; `pricing` as rows hold it."""

    upstream_model: str
    name: str
    owned_by: str = ""
    description: str = ""
    context_length: int | None = None
    max_output_length: int | None = None
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    supports_tools: bool = False
    supports_structured_output: bool = False
    supported_parameters: tuple[str, ...] = ()
    reasoning: Mapping[str, Any] | None = None
    pricing: Mapping[str, Any] = field(default_factory=dict)
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `left_out`: entries that are no model, or none that can be asked; `then`: the query of the next page."""

    offers: tuple[Offer, ...]
    left_out: int = 0
    then: Mapping[str, str] | None = None


def first_query(dialect: DialectName) -> dict[str, str]:
    """The query that asks for the first page, as long a one as there is."""
    return {DialectName.ANTHROPIC: {"limit": "1000"}, DialectName.GEMINI: {"pageSize": "1000"}}.get(dialect, {})


def read(dialect: DialectName, body: bytes) -> Page:
    """A page of the list of a provider that speaks `dialect`. Raises `Unreadable`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable("it is not JSON") from error
    if dialect is DialectName.GEMINI:
        return _page(value, "models", _gemini, _next_gemini)
    if dialect is DialectName.ANTHROPIC:
        return _page(value, "data", _anthropic, _next_anthropic)
    # Together sends the bare list (api.together.xyz/v1/models).
    return _page({"data": value} if isinstance(value, list) else value, "data", _openai, lambda _: None)


def _page(
    value: Any,
    key: str,
    offer: Callable[[Mapping[str, Any]], Offer | None],
    following: Callable[[Mapping[str, Any]], dict[str, str] | None],
) -> Page:
    entries = value.get(key) if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise Unreadable(f"it has no list {key!r}")
    found = [offer(entry) if isinstance(entry, dict) else None for entry in entries]
    offers = tuple(one for one in found if one is not None)
    return Page(offers, len(found) - len(offers), following(value))


def _openai(entry: Mapping[str, Any]) -> Offer | None:
    upstream = _id(entry.get("id"))
    if upstream is None or entry.get("active") is False:
        return None
    top, architecture = _mapping(entry, "top_provider"), _mapping(entry, "architecture")
    parameters = _words(entry.get("supported_parameters"))
    return Offer(
        upstream,
        _text(entry, "name") or _text(entry, "display_name") or upstream,
        owned_by=_text(entry, "owned_by"),
        description=_text(entry, "description", 4000),
        context_length=_tokens(entry, _CONTEXT),
        max_output_length=_tokens(top, _OUTPUT) or _tokens(entry, _OUTPUT),
        input_modalities=_modalities(architecture.get("input_modalities")),
        output_modalities=_modalities(architecture.get("output_modalities")),
        supports_tools="tools" in parameters,
        supports_structured_output="structured_outputs" in parameters,
        supported_parameters=tuple(word for word in parameters if word not in _ABILITIES),
        reasoning=_reasoning(entry.get("reasoning")),
        pricing=_pricing(entry.get("pricing")),
        created=_epoch(entry.get("created")),
    )


def _anthropic(entry: Mapping[str, Any]) -> Offer | None:
    upstream = _id(entry.get("id"))
    if upstream is None or entry.get("lifecycle") == "retired":
        return None
    able = {
        name for name, told in _mapping(entry, "capabilities").items() if isinstance(told, dict) and told.get("supported")
    }
    inputs = ("text", *(["image"] if "image_input" in able else []), *(["file"] if "pdf_input" in able else []))
    return Offer(
        upstream,
        _text(entry, "display_name") or upstream,
        owned_by="anthropic",
        context_length=_tokens(entry, ("max_input_tokens",)),
        max_output_length=_tokens(entry, ("max_tokens",)),
        input_modalities=inputs,
        supports_structured_output="structured_outputs" in able,
        reasoning={"mandatory": False} if "thinking" in able else None,
        created=_iso(entry.get("created_at")),
    )


def _next_anthropic(value: Mapping[str, Any]) -> dict[str, str] | None:
    last = value.get("last_id")
    return (
        {**first_query(DialectName.ANTHROPIC), "after_id": last}
        if value.get("has_more") and isinstance(last, str)
        else None
    )


def _gemini(entry: Mapping[str, Any]) -> Offer | None:
    upstream = _id(entry.get("name"))
    methods = _words(entry.get("supportedGenerationMethods"))
    if upstream is None or not {"generateContent", "embedContent"} & set(methods):
        return None
    # `models/gemini-2.5-flash` is the resource; requests name the model without that.
    upstream = upstream.removeprefix("models/")
    return Offer(
        upstream,
        _text(entry, "displayName") or upstream,
        owned_by="google",
        description=_text(entry, "description", 4000),
        context_length=_tokens(entry, ("inputTokenLimit",)),
        max_output_length=_tokens(entry, ("outputTokenLimit",)),
        output_modalities=("text",) if "generateContent" in methods else ("embeddings",),
        reasoning={"mandatory": False} if entry.get("thinking") is True else None,
    )


def _next_gemini(value: Mapping[str, Any]) -> dict[str, str] | None:
    token = value.get("nextPageToken")
    return {**first_query(DialectName.GEMINI), "pageToken": token} if isinstance(token, str) and token else None


def _id(value: Any) -> str | None:
    is_id = isinstance(value, str) and value.strip() and len(value) <= MAX_ID_CHARACTERS and not _UNPRINTABLE.search(value)
    return value if is_id else None


def _mapping(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def _text(entry: Mapping[str, Any], key: str, limit: int = 100) -> str:
    value = entry.get(key)
    return _UNPRINTABLE.sub(" ", value).strip()[:limit] if isinstance(value, str) else ""


def _words(value: Any) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()


def _tokens(entry: Mapping[str, Any], keys: Iterable[str]) -> int | None:
    return next((entry[key] for key in keys if type(entry.get(key)) is int and 0 < entry[key] < 2**31), None)


def _modalities(value: Any) -> tuple[str, ...]:
    return tuple(word for word in _words(value) if word in _MODALITIES) or ("text",)


def _reasoning(value: Any) -> dict[str, Any] | None:
    return {key: value[key] for key in _REASONING if value.get(key) is not None} if isinstance(value, dict) else None


def _pricing(value: Any) -> dict[str, Any]:
    """The prices that rows can hold; none at all where one of them makes no sense, as -1 for "it depends"."""
    known = (
        {key: price for key, price in value.items() if key in (*PRICE_KEYS, OVERRIDES)} if isinstance(value, dict) else {}
    )
    try:
        prices = Prices.parse(known)
    except PricingError:
        return {}
    # What a token costs; a dollar would be a price of another unit.
    per_token = (prices.known.get(key, 0) for key in ("prompt", "completion"))
    return known if {"prompt", "completion"} <= prices.known.keys() and all(price < 1 for price in per_token) else {}


def _epoch(value: Any) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if type(value) is int and 0 < value < 2**32 else None


def _iso(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment and moment.year > 1970 else None
