"""One request as `GET /generation` publishes it (openrouter.md 5.4), from the moment its answer has ended.

What the database does not have yet is in the ledger: in this process's memory or in a journal on this machine. Owns the published
shape, and who may see which request.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from accounting import ledger
from accounting.credentials import KeyEntry
from accounting.models import RequestLog
from accounting.record import COLUMNS, Attempt, Record
from catalog.models import Adapter
from gateway_project.errors import NotFound

API_TYPES = {
    "embeddings": "embeddings", "rerank": "rerank", "speech": "tts", "transcriptions": "stt", "images": "image",
    "videos": "video",
}  # fmt: skip
"""OpenRouter's `api_type` by a record's `endpoint`; everything else is `completions`."""

Served = Mapping[int, Mapping[str, Any]]
"""By adapter id: names of its provider and model."""


def find(request_id: str, caller: KeyEntry) -> Record:
    """The record of that request. Raises `NotFound` where there is none, or where it is not the caller's to see.

    A key sees its own requests, a management key all of them, a caller without a key those without a key.
    """
    record = ledger.find(request_id) or _stored(request_id)
    if record is None or not (caller.is_management or record.api_key_id == caller.id):
        raise NotFound(
            f"There is no generation {request_id[:80]!r} of this key. The id is that of the response, and its "
            "X-Generation-Id header; another key's generations are shown to that key and to management keys."
        )
    return record


def describe(record: Record) -> dict[str, Any]:
    """The generation object. What nobody measures here is null, what has no meaning here at rest."""
    served = _served(record)
    cost = float(Decimal(record.cost_usd))
    return {
        "id": record.request_id,
        "request_id": None,
        "upstream_id": record.upstream_id,
        "total_cost": cost,
        "usage": cost,
        "usage_cache": None,
        "cache_discount": _cache_discount(record),
        # Only for callers' own provider keys; the rest is in `usage`, and clients add the two up.
        "upstream_inference_cost": 0,
        "created_at": datetime.fromtimestamp(record.timestamp, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "model": record.model_id,
        "app_id": None,
        "streamed": record.stream,
        "cancelled": record.is_cancelled,
        "provider_name": _provider_name(record.adapter_id, record.provider, served),
        "latency": record.latency_ms if record.ttft_ms is None else record.ttft_ms,
        "moderation_latency": None,
        "generation_time": record.attempts[-1].latency_ms if record.attempts else None,
        "finish_reason": record.finish_reason,
        "native_finish_reason": record.native_finish_reason,
        **_tokens(record),
        "origin": record.http_referer,
        "is_byok": False,
        "provider_responses": [_response(attempt, served) for attempt in record.attempts],
        "router": None,
        "api_type": API_TYPES.get(record.endpoint, "completions"),
        "external_user": record.user_id,
        "user_agent": record.user_agent or None,
        "http_referer": record.http_referer or None,
        "data_region": "global",
        "service_tier": None,
        "web_search_engine": None,
        "preset_id": None,
        "workspace_id": None,
        "session_id": record.session_id,
        "response_cache_source_id": None,
    }


def content(record: Record) -> dict[str, Any]:
    """What was asked and answered. Raises `NotFound` where it was not stored, with how to have it stored."""
    if record.prompt is None:
        raise NotFound(
            f"The content of {record.request_id} is not stored. Contents are kept of requests that arrive while "
            "LOG_CONTENT is full, or whose key has log_content full, until they are pruned."
        )
    return {
        "input": _input(record.prompt),
        "output": {"completion": record.response, "reasoning": None},
        "error": _error(record) if record.error else None,
    }


def _stored(request_id: str) -> Record | None:
    row = RequestLog.objects.filter(request_id=request_id).values(*COLUMNS).first()
    if row is None:
        return None
    return Record.of(row | {"timestamp": row["timestamp"].timestamp(), "cost_usd": str(row["cost_usd"])})


def _served(record: Record) -> Served:
    pks = {attempt.adapter_id for attempt in record.attempts}
    if not pks:
        return {}
    columns = ("pk", "provider__name", "model__public_id", "model__canonical_slug")
    return {row["pk"]: row for row in Adapter.objects.filter(pk__in=pks).values(*columns)}


def _provider_name(adapter_id: int | None, slug: str, served: Served) -> str | None:
    """As callers know the provider; its slug once the adapter is gone, None where none was asked."""
    adapter = served.get(adapter_id or 0)
    return adapter["provider__name"] if adapter else slug or None


def _response(attempt: Attempt, served: Served) -> dict[str, Any]:
    response = {
        "status": attempt.status,
        "provider_name": _provider_name(attempt.adapter_id, attempt.provider, served),
        "latency": attempt.latency_ms if attempt.ttft_ms is None else attempt.ttft_ms,
        "is_byok": False,
        "endpoint_id": str(attempt.adapter_id),
        "id": attempt.upstream_id,
    }
    if model := served.get(attempt.adapter_id):
        response["model_permaslug"] = model["model__canonical_slug"] or model["model__public_id"]
    # TypeScript clients refuse null in all but the status.
    return {name: value for name, value in response.items() if name == "status" or value is not None}


def _tokens(record: Record) -> dict[str, int | None]:
    """Normalised counts are the native ones: nothing is counted by another tokenizer here."""
    return {
        "tokens_prompt": record.prompt_tokens,
        "tokens_completion": record.completion_tokens,
        "native_tokens_prompt": record.prompt_tokens,
        "native_tokens_completion": record.completion_tokens,
        "native_tokens_completion_images": record.image_tokens or None,
        "native_tokens_reasoning": record.reasoning_tokens,
        "native_tokens_cached": record.cache_read_tokens,
        "num_media_prompt": None,
        "num_input_audio_prompt": None,
        "num_media_completion": None,
        "num_search_results": None,
        "num_fetches": None,
    }


def _cache_discount(record: Record) -> float | None:
    """USD that the prompt cache saved: less where the provider charges for writing it, null where it was not used."""
    prices = {name: Decimal(price) for name, price in (record.prices or {}).items()}
    prompt = prices.get("prompt")
    if prompt is None or not (record.cache_read_tokens or record.cache_write_tokens):
        return None
    read = record.cache_read_tokens * (prompt - prices.get("input_cache_read", prompt))
    written = record.cache_write_tokens * (prompt - prices.get("input_cache_write", prompt))
    return float(read + written)


def _input(prompt: str) -> dict[str, Any]:
    """The messages or, for what was not asked as messages, the prompt as text."""
    if prompt.startswith("["):
        try:
            return {"messages": orjson.loads(prompt)}
        except orjson.JSONDecodeError:
            return {"prompt": prompt}  # a text that only begins like JSON
    return {"prompt": prompt}


def _error(record: Record) -> dict[str, Any]:
    served = _served(record)
    failed = [attempt for attempt in record.attempts if attempt.error]
    return {
        "message": record.error,
        "status": record.status_code,
        "provider_name": _provider_name(record.adapter_id, record.provider, served),
        "raw": None,
        "previous_errors": [
            {
                "code": attempt.status or 0,
                "message": attempt.error,
                "provider_name": _provider_name(attempt.adapter_id, attempt.provider, served),
                "raw": None,
            }
            for attempt in failed[:-1]
        ],
    }
