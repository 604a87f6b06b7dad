"""What a validated request becomes: the chat that travels on, what routing asks, what the record keeps. No I/O."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from completions import schemas, shape
from completions.dialects.base import refuse_depth
from completions.exchange import Exchange
from completions.schemas import TEXT_ONLY
from routingapp import preferences, stickiness
from routingapp.plan import Ask

_RECORDED_PARAMETERS = schemas.SUPPORTED_PARAMETERS - {
    "tools", "response_format", "prediction", "temperature", "top_p", "max_tokens", "seed",
}  # fmt: skip
"""What has no column of its own and is not too large to keep."""
_INT64_MAX = 2**63 - 1


def accept(exchange: Exchange, request: schemas.ChatRequest, raw: dict[str, Any], *, log_content: str) -> None:
    """Take `request` into `exchange`. `raw`: the same as the caller sent it; `log_content`: none, hash or full.

    Raises `InvalidRequest` for what is not of the shape that every provider relies on, for preferences that cannot be read, and
    for messages nested too deeply to be kept. By then the record says what was asked.
    """
    chat = exchange.chat = schemas.canonical(raw)
    record, key = exchange.record, exchange.key
    names, max_tokens = request.asked_models, chat.get("max_tokens")
    record.requested_model = record.model_id = names[0]
    record.stream = bool(request.stream)
    record.user_id = request.user[:256] if request.user else None
    record.session_id = request.session_id or record.session_id
    record.temperature, record.top_p = request.temperature, request.top_p
    record.max_tokens = _storable(max_tokens)
    record.seed = _storable(request.seed)
    record.parameters = {name: chat[name] for name in _RECORDED_PARAMETERS & chat.keys()} or None
    record.metadata = request.metadata
    shape.check(chat)
    exchange.prompt_characters, modalities = schemas.measure(chat["messages"])
    if log_content != "none":
        _keep_content(exchange, log_content)
    exchange.conversation = _conversation(exchange, request, names[0])
    exchange.ask = Ask(
        models=names,
        preferences=preferences.parse(request.provider),
        prompt_tokens=exchange.prompt_characters // 4,
        max_output_tokens=max_tokens,
        input_modalities=modalities,
        output_modalities=frozenset(request.modalities) if request.modalities else TEXT_ONLY,
        parameters=schemas.parameters_of(chat),
        allowed_models=key.allowed_models,
        allowed_providers=key.allowed_providers,
        session=record.session_id,
    )


def _conversation(exchange: Exchange, request: schemas.ChatRequest, model: str) -> tuple[int | None, str, str] | None:
    """What names the conversation, None where staying with an adapter saves nothing: most models, and worth no hashing."""
    entry = exchange.snapshot.catalogue.find(model)
    if entry is None or not any(map(stickiness.is_worthwhile, entry.adapters)):
        return None
    session = stickiness.key_of(
        request.session_id, exchange.record.session_id, request.prompt_cache_key, exchange.chat["messages"]
    )
    return (exchange.key.id, model, session) if session else None


def _keep_content(exchange: Exchange, policy: str) -> None:
    try:
        messages = orjson.dumps(exchange.chat["messages"])
    except TypeError as error:
        refuse_depth(error)
        raise
    exchange.record.prompt_hash = hashlib.sha256(messages).hexdigest()
    if policy == "full":
        exchange.keeps_content = True
        exchange.record.prompt = messages.decode()


def _storable(number: int | None) -> int | None:
    """`number` where it fits a database integer; the full value still travels to the provider."""
    return number if number is not None and abs(number) <= _INT64_MAX else None
