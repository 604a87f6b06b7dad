"""The files that ship: they load, they agree with themselves, and OpenRouter's SDK accepts what is published of them."""

import pytest
import yaml
from openrouter.components import ModelsListResponse

from catalog import loader
from catalog.models import LanguageModel, Provider
from catalog.seed.stanzas import SHIPPED
from routingapp import seed

pytestmark = pytest.mark.django_db

KINDS = {
    "embedded", "vllm", "sglang", "llamacpp", "ollama", "openai", "azure", "deepseek", "gemini", "llama", "anthropic",
    "openrouter", "mistral", "groq", "together", "fireworks", "xai", "moonshot", "zai", "minimax",
}  # fmt: skip


def nothing_set(name: str) -> str | None:
    """An empty environment."""


@pytest.fixture
def shipped(settings, tmp_path):
    settings.ROUTING_CONFIG = tmp_path / "absent.yaml"
    return seed.load(settings.BASE_DIR / "catalog" / "models.yaml")


def test_they_load_and_publish_cards_that_the_sdk_accepts(shipped):
    catalogue = loader.load(nothing_set)
    cards = [dict(model.card) for model in catalogue.models]

    listed = ModelsListResponse.model_validate({"data": cards, "total_count": len(cards), "links": {"next": None}})

    assert len(listed.data) == shipped.models == LanguageModel.objects.count()
    assert all("e" not in price.lower() for card in cards for price in card["pricing"].values() if isinstance(price, str))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("deepseek/deepseek-chat", "deepseek-chat"),
        ("deepseek/deepseek-reasoner", "deepseek-reasoner"),
        ("google/gemini-2.5-flash", "gemini-2.5-flash"),
        ("google/gemini-2.5-pro", "gemini-2.5-pro"),
        ("meta-llama/llama-4-scout", "llama-4-scout"),
        ("anthropic/claude-sonnet-5.5", "claude-sonnet-5.5"),
        ("smollm2-135m-instruct", "smollm2-135m-instruct"),
    ],
)
def test_models_are_found_by_the_names_openrouter_uses(shipped, name, model):
    found = loader.load(nothing_set).find(name)

    assert found is not None
    assert found.id == model


def test_a_fresh_gateway_says_what_each_adapter_lacks(shipped):
    lacking = {
        f"{model.id} at {adapter.provider.slug}": adapter.unconfigured
        for model in loader.load(nothing_set).models
        for adapter in model.adapters
    }

    assert lacking["deepseek-chat at deepseek"] == "environment variable DEEPSEEK_API_KEY is not set"
    assert lacking["llama-4-scout at vllm"] == "environment variable LOCAL_BASE_URL is not set"
    assert lacking["llama-4-scout at llama"] == "environment variable LLAMA_API_KEY is not set"
    assert None not in lacking.values()


def test_a_local_engine_needs_its_address_only(shipped):
    catalogue = loader.load(
        {"LOCAL_BASE_URL": "http://127.0.0.1:8000/v1", "EMBEDDED_BASE_URL": "http://127.0.0.1:9/v1"}.get
    )

    ready = {model.id for model in catalogue.models for adapter in model.adapters if adapter.unconfigured is None}
    assert ready == {"llama-4-scout", "smollm2-135m-instruct"}


def test_only_providers_in_use_get_rows(shipped):
    assert set(Provider.objects.values_list("slug", flat=True)) == {
        "embedded", "vllm", "llama", "deepseek", "gemini", "openai", "anthropic", "openrouter",
    }  # fmt: skip


def test_every_known_kind_ships_as_a_stanza():
    assert {stanza["kind"] for stanza in yaml.safe_load(SHIPPED.read_text())["providers"]} == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_shipped_kind_can_be_used(kind, settings, tmp_path):
    settings.ROUTING_CONFIG = tmp_path / "absent.yaml"
    path = tmp_path / "models.yaml"
    path.write_text(f"models: [{{id: a, name: A, provider: {kind}}}]")

    seed.load(path)

    Provider.objects.get(slug=kind).full_clean()
