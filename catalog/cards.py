"""A model's card: its object in `/models`, in OpenRouter's words (openrouter.md 5.1 and 9.1).

Pure: a row's plain values in, JSON values out. What clients of OpenRouter require is always present; what is optional and
unknown is left out, because several of them refuse null there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Protocol

from catalog.prices import Prices, published

ALWAYS_SUPPORTED = ("max_tokens", "max_completion_tokens")
"""The gateway itself translates these for every provider."""

SAMPLING = ("temperature", "top_p", "stop")
"""What a model takes that does not say what it takes."""

_DEFAULTED = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "repetition_penalty")


class Described(Protocol):
    """What a card is made of; `catalog.models.LanguageModel` has it."""

    public_id: str
    canonical_slug: str
    name: str
    owned_by: str
    description: str
    context_length: int
    max_output_length: int
    input_modalities: Any
    output_modalities: Any
    supports_tools: bool
    supports_structured_output: bool
    supported_parameters: Any
    default_parameters: Any
    reasoning: Any
    tokenizer: str
    hugging_face_id: str
    knowledge_cutoff: date | None
    expiration_date: date | None
    created: datetime


def supported_parameters(model: Described) -> list[str]:
    """OpenRouter's names of all that the model takes: its abilities, and the parameters it lists or else the usual ones."""
    names = [*ALWAYS_SUPPORTED, *(model.supported_parameters or SAMPLING)]
    if model.supports_tools:
        names += ["tools", "tool_choice", "parallel_tool_calls"]
    if model.supports_structured_output:
        names += ["response_format", "structured_outputs"]
    if model.reasoning:
        names += ["reasoning", "include_reasoning", "reasoning_effort"]
    return list(dict.fromkeys(names))


def modality(inputs: Sequence[str], outputs: Sequence[str]) -> str:
    """OpenRouter's summary of both lists, e.g. "text+image->text"."""
    return f"{'+'.join(inputs)}->{'+'.join(outputs)}"


def card(model: Described, prices: Prices) -> dict[str, Any]:
    """The complete `/models` object of `model` at `prices`."""
    slug = model.canonical_slug or model.public_id
    built: dict[str, Any] = {
        "id": model.public_id,
        "object": "model",
        "owned_by": model.owned_by,
        "canonical_slug": slug,
        "name": model.name,
        "created": int(model.created.timestamp()),
        "description": model.description,
        "context_length": model.context_length,
        "architecture": {
            "modality": modality(model.input_modalities, model.output_modalities),
            "input_modalities": list(model.input_modalities),
            "output_modalities": list(model.output_modalities),
            "tokenizer": model.tokenizer or "Other",
            "instruct_type": None,
        },
        "pricing": published(prices),
        "top_provider": {
            "context_length": model.context_length,
            "max_completion_tokens": model.max_output_length,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": supported_parameters(model),
        "default_parameters": {name: (model.default_parameters or {}).get(name) for name in _DEFAULTED},
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{slug}/endpoints"},
    }
    if model.hugging_face_id:
        built["hugging_face_id"] = model.hugging_face_id
    if model.knowledge_cutoff:
        built["knowledge_cutoff"] = model.knowledge_cutoff.isoformat()
    if model.expiration_date:
        built["expiration_date"] = model.expiration_date.isoformat()
    if model.reasoning:
        built["reasoning"] = {"mandatory": False, **model.reasoning}
    return built
