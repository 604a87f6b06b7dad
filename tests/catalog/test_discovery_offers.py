"""Lists of models in the forms that providers send, and what is made of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from catalog.discovery import offers
from catalog.discovery.offers import Unreadable
from catalog.entries import DialectName

OPENROUTER = {
    "id": "acme/falcon",
    "canonical_slug": "acme/falcon-20261101",
    "name": "Acme: Falcon",
    "created": 1_780_000_000,
    "description": "Fast.\nAnd kind.",
    "context_length": 200_000,
    "architecture": {
        "modality": "text+image->text",
        "input_modalities": ["text", "image", "smell"],
        "output_modalities": ["text"],
        "tokenizer": "Other",
    },
    "pricing": {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001", "discount": 0},
    "top_provider": {"context_length": 200_000, "max_completion_tokens": 8192, "is_moderated": False},
    "per_request_limits": None,
    "supported_parameters": [
        "max_tokens",
        "temperature",
        "tools",
        "tool_choice",
        "structured_outputs",
        "seed",
        "reasoning",
    ],
    "reasoning": {"mandatory": False, "default_enabled": True, "supported_efforts": ["high", "low"], "of_theirs": 1},
}


def one(entry, dialect=DialectName.OPENAI, key="data"):
    page = offers.read(dialect, json.dumps({key: [entry]}).encode())
    assert (len(page.offers), page.left_out, page.then) == (1, 0, None)
    return page.offers[0]


def test_openrouters_list_says_everything():
    offer = one(OPENROUTER)
    assert offer.upstream_model == "acme/falcon"
    assert offer.name == "Acme: Falcon"
    assert offer.description == "Fast. And kind."
    assert (offer.context_length, offer.max_output_length) == (200_000, 8192)
    assert offer.input_modalities == ("text", "image")
    assert (offer.supports_tools, offer.supports_structured_output) == (True, True)
    assert offer.supported_parameters == ("temperature", "seed")
    assert offer.reasoning == {"mandatory": False, "default_enabled": True, "supported_efforts": ["high", "low"]}
    assert offer.pricing == {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001"}
    assert offer.created == datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)


def test_openais_list_says_little():
    offer = one({"id": "gpt-6-luna", "object": "model", "created": 1_780_000_000, "owned_by": "openai"})
    assert (offer.upstream_model, offer.name, offer.owned_by) == ("gpt-6-luna", "gpt-6-luna", "openai")
    assert (offer.context_length, offer.max_output_length, offer.pricing) == (None, None, {})


@pytest.mark.parametrize(
    ("entry", "lengths"),
    [
        ({"id": "m", "owned_by": "vllm", "root": "m", "max_model_len": 40_960}, (40_960, None)),
        ({"id": "m", "active": True, "context_window": 131_072, "max_completion_tokens": 32_768}, (131_072, 32_768)),
        ({"id": "m", "max_context_length": 128_000, "capabilities": {"function_calling": True}}, (128_000, None)),
        ({"id": "m", "context_length": "8192"}, (None, None)),
        ({"id": "m", "context_length": True}, (None, None)),
        ({"id": "m", "context_length": 0}, (None, None)),
    ],
)
def test_lengths_are_found_under_the_names_they_go_by(entry, lengths):
    offer = one(entry)
    assert (offer.context_length, offer.max_output_length) == lengths


def test_a_bare_list_is_a_list():
    page = offers.read(
        DialectName.OPENAI, b'[{"id": "meta/llama", "type": "chat", "pricing": {"input": 0.88, "output": 0.88}}]'
    )
    assert [(offer.upstream_model, offer.pricing) for offer in page.offers] == [("meta/llama", {})]


def test_anthropics_list():
    offer = one(
        {
            "type": "model",
            "id": "claude-sonnet-5-5",
            "display_name": "Claude Sonnet 5.5",
            "created_at": "2026-08-01T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": 1_000_000,
            "max_tokens": 128_000,
            "capabilities": {
                "image_input": {"supported": True},
                "pdf_input": {"supported": True},
                "structured_outputs": {"supported": True},
                "thinking": {"supported": True, "types": {}},
                "batch": {"supported": False},
            },
        },
        DialectName.ANTHROPIC,
    )
    assert (offer.name, offer.owned_by) == ("Claude Sonnet 5.5", "anthropic")
    assert (offer.context_length, offer.max_output_length) == (1_000_000, 128_000)
    assert offer.input_modalities == ("text", "image", "file")
    assert offer.supports_structured_output
    assert offer.reasoning == {"mandatory": False}
    assert offer.created == datetime(2026, 8, 1, tzinfo=UTC)


def test_geminis_list():
    offer = one(
        {
            "name": "models/gemini-2.5-flash",
            "baseModelId": "gemini-2.5-flash",
            "displayName": "Gemini 2.5 Flash",
            "description": "Mid-size.",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "thinking": True,
        },
        DialectName.GEMINI,
        "models",
    )
    assert (offer.upstream_model, offer.name, offer.owned_by) == ("gemini-2.5-flash", "Gemini 2.5 Flash", "google")
    assert (offer.context_length, offer.max_output_length) == (1_048_576, 65_536)
    assert offer.reasoning == {"mandatory": False}


def test_geminis_embeddings_answer_with_embeddings():
    entry = {"name": "models/embedder", "supportedGenerationMethods": ["embedContent"]}
    assert one(entry, DialectName.GEMINI, "models").output_modalities == ("embeddings",)


@pytest.mark.parametrize(
    ("dialect", "key", "entry"),
    [
        (DialectName.OPENAI, "data", "falcon"),
        (DialectName.OPENAI, "data", {"id": 5}),
        (DialectName.OPENAI, "data", {"id": " "}),
        (DialectName.OPENAI, "data", {"id": "x" * 201}),
        (DialectName.OPENAI, "data", {"id": "fal\ncon"}),
        (DialectName.OPENAI, "data", {"id": "whisper", "active": False}),
        (DialectName.ANTHROPIC, "data", {"id": "claude-2", "lifecycle": "retired"}),
        (DialectName.GEMINI, "models", {"name": "models/paint", "supportedGenerationMethods": ["predict"]}),
    ],
)
def test_what_no_request_could_be_sent_to_is_counted(dialect, key, entry):
    page = offers.read(dialect, json.dumps({key: [entry]}).encode())
    assert (page.offers, page.left_out) == ((), 1)


@pytest.mark.parametrize(
    "pricing",
    [
        {"prompt": "-1", "completion": "-1"},
        {"prompt": 0.5, "completion": 1.5},
        {"prompt": "2.5", "completion": "10"},
        {"prompt": "0.000001"},
        {"prompt": "0.000001", "completion": "0.000002", "overrides": "yes"},
        "free",
        None,
    ],
)
def test_a_price_that_is_not_surely_per_token_is_not_taken(pricing):
    assert one({"id": "m", "pricing": pricing}).pricing == {}


def test_prices_that_depend_on_the_request_are_taken_with_their_conditions():
    pricing = {
        "prompt": "0.000001",
        "completion": "0.000002",
        "overrides": [{"min_prompt_tokens": 200000, "prompt": "0.000002"}],
    }
    assert one({"id": "m", "pricing": pricing}).pricing == pricing


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"data": {}}', b"5", b"null"])
def test_what_is_no_list_is_refused(body):
    for dialect in DialectName:
        with pytest.raises(Unreadable):
            offers.read(dialect, body)
