"""Our costs against those of genai-prices, which reads the providers' own bodies and prices them by code that is not ours.

Both are given the same body and the same prices. It ships its data, so nothing here needs a network; a test holds that.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from genai_prices import data_snapshot
from genai_prices.types import ModelPrice, Provider, TieredPrices

from accounting.pricing import cost
from accounting.usage import Usage
from catalog.prices import Prices, plain
from completions.dialects.anthropic import counts as anthropic
from completions.dialects.gemini import tokens as gemini
from completions.dialects.openai import counts as openai

WIRE = Path(__file__).parent.parent / "wire"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MILLION, THOUSAND = Decimal(1_000_000), Decimal(1000)

KEYS = {
    "input_mtok": "prompt",
    "output_mtok": "completion",
    "cache_read_mtok": "input_cache_read",
    "cache_write_mtok": "input_cache_write",
    "cache_write_1h_mtok": "input_cache_write_1h",
    "input_audio_mtok": "audio",
    "cache_audio_read_mtok": "input_audio_cache",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_token",
    "output_image_mtok": "image_output",
    "output_reasoning_mtok": "internal_reasoning",
    "web_searches_kcount": "web_search",
}
"""What genai-prices calls what OpenRouter calls…"""
NOT_BILLED_HERE = {"storage_searches_kcount", "cache_audio_write_mtok", "cache_audio_write_1h_mtok"}
"""File search of OpenAI's hosted stores, and audio written to caches, which no provider counts: the oracle wants its price."""

PRIMES = ModelPrice(
    **{
        key: Decimal(price)
        for key, price in zip(
            (
                "input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok",
                "input_audio_mtok", "cache_audio_read_mtok", "output_audio_mtok", "output_image_mtok", "web_searches_kcount",
                "cache_audio_write_mtok", "cache_audio_write_1h_mtok",
            ),
            (101, 211, 11, 131, 181, 307, 37, 401, 503, 9973, 1, 1),
            strict=True,
        )
    }
)  # fmt: skip
"""A list on which a token in the wrong class, or in two, cannot go unseen: no price is a sum of others."""

PROVIDERS = {"openai": ("openai", "chat"), "anthropic": ("anthropic", "default"), "gemini": ("google", "default")}

SEARCH, IMAGE_TOKEN, ANSWER_TOKEN = Decimal("9.973"), Decimal("0.000503"), Decimal("0.000211")
EXPLAINED = {
    # Google reports no number of searches. The dialect counts them from the grounding; Google bills them.
    "gemini-grounded": SEARCH,
    # genai-prices does not read the image_tokens of chat completions; image output has a price of its own.
    "openai-image-out": 1290 * (IMAGE_TOKEN - ANSWER_TOKEN),
    # The same, and it does not read OpenRouter's count of searches.
    "openai-openrouter": 50 * (IMAGE_TOKEN - ANSWER_TOKEN) + 2 * SEARCH,
    # It reads no num_search_queries of OpenAI's flavour; Perplexity bills them.
    "openai-perplexity": SEARCH,
    # xAI counts reasoning beside completion_tokens. Read as OpenAI's, 386 tokens would be free.
    "openai-xai-usage": 386 * ANSWER_TOKEN,
}
"""By how many USD ours differs on which recorded bodies, and why it is right."""


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the oracle must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def provider_of(slug: str) -> Provider:
    return next(provider for provider in data_snapshot.get_snapshot().providers if provider.id == slug)


def price_of(slug: str, model: str, at: datetime = NOON) -> ModelPrice:
    found = provider_of(slug).find_model(model)
    assert found is not None
    return found.get_prices(at)


def converted(price: ModelPrice) -> Prices:
    """The oracle's price list as ours."""
    base: dict[str, str] = {}
    tiers: dict[int, dict[str, str]] = {}
    for key, value in vars(price).items():
        if key in NOT_BILLED_HERE or value is None:
            continue
        per = THOUSAND if key.endswith("kcount") else MILLION
        if isinstance(value, TieredPrices):
            for tier in value.tiers:
                tiers.setdefault(tier.start, {})[KEYS[key]] = plain(tier.price / per)
            value = value.base
        base[KEYS[key]] = plain(value / per)
    overrides = [{"min_prompt_tokens": start, **changed} for start, changed in sorted(tiers.items())]
    return Prices.parse(base | {"overrides": overrides})


def ours(dialect: str, body: dict[str, Any], searches: int = 0) -> Usage:
    if dialect == "gemini":
        usage = gemini.usage(body["usageMetadata"], searches)
    else:
        usage = (anthropic if dialect == "anthropic" else openai).usage(body["usage"])
    assert usage is not None
    return usage


def theirs(dialect: str, body: dict[str, Any], price: ModelPrice) -> Decimal:
    slug, flavour = PROVIDERS[dialect]
    _, usage = provider_of(slug).extract_usage(body, api_flavor=flavour)
    return price.calc_price(usage)["total_price"]


def recorded() -> Iterator[Any]:
    for path in sorted(WIRE.glob("*/*.response.json")):
        body, expected = (json.loads(file.read_text()) for file in (path, expected_of(path)))
        if isinstance(body, dict) and "usage" in expected:
            name = f"{path.parent.name}-{path.name.partition('.')[0]}"
            yield pytest.param(path.parent.name, name, body, Usage(**expected["usage"]), id=name)


def expected_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".response.", ".expected."))


@pytest.mark.parametrize(("dialect", "name", "body", "usage"), list(recorded()))
def test_a_recorded_answer_costs_what_the_oracle_says(dialect, name, body, usage):
    """`usage` is what the dialect decodes from `body`; the contract test of the dialects holds that."""
    difference = cost(usage, converted(PRIMES)).total - theirs(dialect, body, PRIMES)

    assert difference == EXPLAINED.get(name, 0)


def test_every_explanation_is_of_a_recorded_body():
    assert EXPLAINED.keys() <= {case.values[1] for case in recorded()}


OPENAI_CACHED = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0},
}
OPENAI_AUDIO = {
    "prompt_tokens": 1300,
    "completion_tokens": 900,
    "total_tokens": 2200,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 1000, "text_tokens": 300},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 750, "text_tokens": 150},
}
OPENAI_LONG = {
    "prompt_tokens": 272_001,
    "completion_tokens": 1000,
    "total_tokens": 273_001,
    "prompt_tokens_details": {"cached_tokens": 200_000},
}
DEEPSEEK = {
    "prompt_tokens": 9000,
    "completion_tokens": 777,
    "total_tokens": 9777,
    "prompt_cache_hit_tokens": 8192,
    "prompt_cache_miss_tokens": 808,
    "prompt_tokens_details": {"cached_tokens": 8192},
    "completion_tokens_details": {"reasoning_tokens": 512},
}
ANTHROPIC = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 3300,
    "cache_read_input_tokens": 188_086,
    "cache_creation": {"ephemeral_5m_input_tokens": 1300, "ephemeral_1h_input_tokens": 2000},
    "output_tokens": 393,
    "server_tool_use": {"web_search_requests": 3},
}
GEMINI = {
    "promptTokenCount": 5000,
    "candidatesTokenCount": 30,
    "thoughtsTokenCount": 400,
    "toolUsePromptTokenCount": 20,
    "totalTokenCount": 5450,
    "cachedContentTokenCount": 4096,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4200}, {"modality": "AUDIO", "tokenCount": 800}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 4000}, {"modality": "AUDIO", "tokenCount": 96}],
}
GEMINI_LONG = {"promptTokenCount": 200_001, "candidatesTokenCount": 9, "totalTokenCount": 200_010}
GEMINI_SHORT = {"promptTokenCount": 200_000, "candidatesTokenCount": 9, "totalTokenCount": 200_009}


@pytest.mark.parametrize(
    ("dialect", "slug", "model", "usage"),
    [
        ("openai", "openai", "gpt-6-luna", OPENAI_CACHED),
        ("openai", "openai", "gpt-6-luna", OPENAI_LONG),
        ("openai", "openai", "gpt-audio", OPENAI_AUDIO),
        ("openai", "deepseek", "deepseek-flash", DEEPSEEK),
        ("anthropic", "anthropic", "claude-sonnet-5-5", ANTHROPIC),
        ("anthropic", "anthropic", "claude-haiku-4-5", ANTHROPIC),
        ("gemini", "google", "gemini-2.5-flash", GEMINI),
        ("gemini", "google", "gemini-2.5-pro", GEMINI),
        ("gemini", "google", "gemini-2.5-pro", GEMINI_SHORT),
        ("gemini", "google", "gemini-2.5-pro", GEMINI_LONG),
    ],
)
def test_an_answer_costs_what_the_oracle_says_at_the_vendors_own_prices(dialect, slug, model, usage):
    body = {"model": model, "modelVersion": model, ("usageMetadata" if dialect == "gemini" else "usage"): usage}
    price = price_of(slug, model)

    charged = cost(ours(dialect, body), converted(price)).total

    assert charged == theirs(dialect, body, price)
    assert charged > 0


def test_reasoning_with_a_price_of_its_own_is_charged_once():
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2), output_reasoning_mtok=Decimal(3))
    body = {"model": "m", "usage": DEEPSEEK}

    assert cost(ours("openai", body), converted(price)).total == theirs("openai", body, price)


@pytest.mark.parametrize(
    ("id_", "slug", "model"),
    [
        ("gemini-2.5-flash", "google", "gemini-2.5-flash"),
        ("gemini-2.5-pro", "google", "gemini-2.5-pro"),
        ("gemini-3.8-flash", "google", "gemini-3.8-flash"),
        ("gpt-6-luna", "openai", "gpt-6-luna"),
        ("claude-sonnet-5.5", "anthropic", "claude-sonnet-5-5"),
        ("claude-haiku-4.5", "anthropic", "claude-haiku-4-5"),
        ("deepseek-chat", "deepseek", "deepseek-flash"),
        ("deepseek-reasoner", "deepseek", "deepseek-flash"),
    ],
)
@pytest.mark.parametrize("moment", ["2026-11-20T00:30", "2026-11-20T01:00", "2026-11-20T09:59", "2026-11-20T10:00"])
def test_the_prices_that_ship_are_those_of_the_oracle(id_, slug, model, moment, settings):
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    shipped = yaml.safe_load((settings.BASE_DIR / "catalog" / "models.yaml").read_text())["models"]
    (pricing,) = (entry["pricing"] for entry in shipped if entry["id"] == id_)

    ours, theirs = Prices.parse(pricing).at(at.timestamp()), converted(price_of(slug, model, at))
    for prompt_tokens in (0, 200_000, 200_001, 272_000, 272_001):
        assert ours.of(prompt_tokens) == theirs.of(prompt_tokens)


def test_the_oracle_uses_the_data_it_ships():
    assert data_snapshot.get_snapshot().from_auto_update is False
