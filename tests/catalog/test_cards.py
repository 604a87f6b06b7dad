"""Cards are checked against the classes of OpenRouter's own SDK, which refuse what its users' programs would refuse."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from openrouter.components import ModelsListResponse

from catalog import cards, prices
from catalog.models import LanguageModel
from catalog.prices import Prices


def model(**fields):
    fields = {
        "public_id": "acme/falcon-2",
        "name": "Falcon 2",
        "owned_by": "acme",
        "created": datetime(2026, 11, 1, tzinfo=UTC),
    } | fields
    return LanguageModel(**fields)


def listed(*built):
    return ModelsListResponse.model_validate({"data": list(built), "total_count": len(built), "links": {"next": None}})


def test_a_bare_model_satisfies_the_sdk():
    built = cards.card(model(), Prices())

    assert listed(built).data[0].id == "acme/falcon-2"
    assert built["object"] == "model"
    assert built["owned_by"] == "acme"
    assert built["pricing"] == {"prompt": "0", "completion": "0"}
    assert built["links"] == {"details": "/api/v1/models/acme/falcon-2/endpoints"}
    assert built["created"] == 1793491200


def test_a_full_model_satisfies_the_sdk():
    built = cards.card(
        model(
            canonical_slug="acme/falcon-2-20261001",
            description="Small.",
            hugging_face_id="acme/falcon-2",
            tokenizer="Llama4",
            knowledge_cutoff=date(2026, 6, 1),
            expiration_date=date(2027, 1, 1),
            input_modalities=["text", "image"],
            supports_tools=True,
            supports_structured_output=True,
            supported_parameters=["temperature", "seed"],
            default_parameters={"temperature": 0.7},
            reasoning={"default_enabled": True, "supported_efforts": ["high", "low"]},
        ),
        Prices.parse({"prompt": "0.0000005", "completion": "0.0000015", "input_cache_read": "5E-8"}),
    )

    entry = listed(built).data[0]
    assert entry.links.details == "/api/v1/models/acme/falcon-2-20261001/endpoints"
    assert entry.architecture.modality == "text+image->text"
    assert entry.reasoning.mandatory is False
    assert built["default_parameters"]["temperature"] == 0.7
    assert built["default_parameters"]["top_k"] is None
    assert built["knowledge_cutoff"] == "2026-06-01"


@pytest.mark.parametrize("name", ["hugging_face_id", "knowledge_cutoff", "expiration_date", "reasoning"])
def test_what_is_optional_and_unknown_is_left_out_rather_than_null(name):
    assert name not in cards.card(model(), Prices())


@pytest.mark.parametrize(
    ("amount", "text"),
    [("5E-7", "0.0000005"), ("0.0000025000", "0.0000025"), ("0", "0"), ("0E-9", "0"), ("35", "35"), ("10", "10")],
)
def test_prices_are_plain_decimals(amount, text):
    assert prices.plain(Decimal(amount)) == text


def test_a_model_that_lists_no_parameters_takes_the_usual_ones():
    assert cards.supported_parameters(model()) == ["max_tokens", "max_completion_tokens", "temperature", "top_p", "stop"]


def test_listed_parameters_replace_the_usual_ones_and_abilities_add_theirs():
    names = cards.supported_parameters(
        model(
            supported_parameters=["seed"],
            supports_tools=True,
            supports_structured_output=True,
            reasoning={"mandatory": True},
        )
    )

    assert names == [
        "max_tokens", "max_completion_tokens", "seed", "tools", "tool_choice", "parallel_tool_calls",
        "response_format", "structured_outputs", "reasoning", "include_reasoning", "reasoning_effort",
    ]  # fmt: skip
