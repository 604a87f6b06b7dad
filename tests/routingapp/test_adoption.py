"""Offers made rows: what they become, beside what, and that none of it takes traffic by itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from catalog import loader
from catalog.discovery.offers import Offer
from catalog.models import Adapter, AdapterPrice, LanguageModel
from routingapp import adoption
from routingapp.adoption import AdoptionRefused
from routingapp.models import RoutingWeight
from tests import factories

pytestmark = pytest.mark.django_db

PRICING = {"prompt": "0.000001", "completion": "0.000002"}
FALCON = Offer(
    "acme/falcon",
    "Acme: Falcon",
    owned_by="acme",
    description="Fast.",
    context_length=200_000,
    max_output_length=8192,
    input_modalities=("text", "image"),
    supports_tools=True,
    supported_parameters=("temperature", "seed"),
    reasoning={"mandatory": False},
    pricing=PRICING,
    created=datetime(2026, 5, 1, tzinfo=UTC),
)
HERON = Offer("heron", "heron")


@pytest.fixture
def acme():
    return factories.provider("acme", name="Acme")


def add(provider, chosen, **options):
    return adoption.adopt(provider, [FALCON, HERON], chosen, **options)


def refused(provider, chosen):
    with pytest.raises(AdoptionRefused) as refusal:
        add(provider, chosen)
    return refusal.value.problems


def test_a_new_model_has_what_the_provider_says_and_is_off(acme):
    added = add(acme, {"acme/falcon": "acme/falcon"})
    (model,), (adapter,) = added.models, added.adapters
    model.refresh_from_db()
    assert (model.public_id, model.name, model.owned_by, model.description) == (
        "acme/falcon",
        "Acme: Falcon",
        "acme",
        "Fast.",
    )
    assert (model.context_length, model.max_output_length) == (200_000, 8192)
    assert (model.input_modalities, model.supports_tools) == (["text", "image"], True)
    assert (model.supported_parameters, model.reasoning) == (["temperature", "seed"], {"mandatory": False})
    assert (model.pricing, model.created) == (PRICING, FALCON.created)
    assert not model.is_enabled
    assert (adapter.provider, adapter.upstream_model, adapter.routing_weight.weight) == (acme, "acme/falcon", 1)
    assert not AdapterPrice.objects.exists()
    assert loader.load(lambda name: None).models == ()
    assert added.sentence() == "Added 1 model, switched off."


def test_what_the_provider_does_not_say_is_the_usual(acme):
    (model,) = add(acme, {"heron": "birds/heron"}).models
    assert (model.owned_by, model.context_length, model.max_output_length) == ("acme", 8192, 4096)


def test_a_short_context_holds_a_short_answer(acme):
    offer = Offer("tiny", "tiny", context_length=2048)
    (model,) = adoption.adopt(acme, [offer], {"tiny": "tiny"}).models
    assert (model.context_length, model.max_output_length) == (2048, 2048)


def test_a_known_name_gets_one_more_adapter_that_is_off_and_has_no_weight(acme):
    served = factories.adapter(
        factories.language_model("birds/falcon", aliases=("Falcon",), pricing={"prompt": "0"}), weight=1
    )
    author = factories.superuser()
    added = add(acme, {"acme/falcon": " falcon "}, author=author)
    (adapter,) = added.adapters
    assert added.models == []
    assert (adapter.model, adapter.is_enabled, adapter.routing_weight.weight) == (served.model, False, 0)
    assert (adapter.context_length, adapter.max_output_length) == (200_000, 8192)
    price = AdapterPrice.objects.get()
    assert (price.pricing, price.note, price.created_by) == (PRICING, "As Acme listed it.", author)
    assert added.sentence() == "Added 1 adapter of models that were there, switched off."


def test_a_price_that_is_the_models_is_not_written_twice(acme):
    factories.language_model("acme/falcon", pricing=PRICING)
    add(acme, {"acme/falcon": "acme/falcon"})
    assert not AdapterPrice.objects.exists()


def test_who_may_not_set_prices_is_told_which_were_left_out(acme):
    factories.language_model("acme/falcon")
    added = add(acme, {"acme/falcon": "acme/falcon"}, may_price=False)
    assert [str(adapter) for adapter in added.unpriced] == ["acme/falcon at Acme"]
    assert not AdapterPrice.objects.exists()


def test_two_offers_may_become_one_model(acme):
    added = add(acme, {"acme/falcon": "birds/one", "heron": "Birds/One"})
    assert len(added.models) == 1
    assert sorted(adapter.upstream_model for adapter in added.adapters) == ["acme/falcon", "heron"]


def test_all_of_it_or_nothing_and_every_problem_is_named(acme):
    factories.adapter(factories.language_model("birds/heron"), acme, upstream_model="heron")
    problems = refused(acme, {"acme/falcon": "not an id", "heron": "birds/heron", "gone": "gone"})
    assert [problem.partition(":")[0] for problem in problems] == ["acme/falcon as 'not an id'", "heron", "gone"]
    assert "Use letters, digits" in problems[0]
    assert "serves it as birds/heron already" in problems[1]
    assert "does not offer it any more" in problems[2]
    assert LanguageModel.objects.count() == Adapter.objects.count() == 1
    assert not RoutingWeight.objects.exists()


def test_nothing_is_added_when_one_of_several_cannot_be(acme):
    assert len(refused(acme, {"acme/falcon": "acme/falcon", "heron": ""})) == 1
    assert not LanguageModel.objects.exists()


def test_comparing_says_what_is_there_already(acme):
    factories.adapter(factories.language_model("birds/falcon"), acme, upstream_model="acme/falcon")
    factories.language_model("birds/heron", aliases=("Heron",))
    falcon, heron = adoption.compare(acme, [FALCON, HERON])
    assert (falcon.served_as, falcon.public_id, falcon.joins) == (("birds/falcon",), "acme/falcon", None)
    assert (heron.served_as, heron.public_id, heron.joins) == ((), "birds/heron", "birds/heron")


def test_comparing_costs_three_queries_however_many_there_are(acme, django_assert_num_queries):
    with django_assert_num_queries(3):
        adoption.compare(acme, [Offer(f"m-{number}", "m") for number in range(200)])
