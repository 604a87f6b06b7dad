"""The planner: the split over many plans, what callers may ask for, and the errors when nothing is left."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.entries import Catalogue, Prices
from gateway_project.errors import (
    GatewayError,
    ModelNotFound,
    NoCandidates,
    NoEndpoints,
    PermissionDenied,
    PromptTooLong,
    ProviderRateLimited,
    ProviderUnavailable,
)
from routingapp import plan
from routingapp.ask import Ask
from routingapp.entries import PolicyEntry, RoutingTable
from routingapp.health import Health
from routingapp.preferences import parse
from routingapp.strategies import STRATEGIES
from tests.routingapp.world import NOW, World, adapter, model, provider, serve

CHEAP: dict[str, Any] = {"prices": Prices.parse({"prompt": "0.000001", "completion": "0.000001"})}
DEAR: dict[str, Any] = {"prices": Prices.parse({"prompt": "0.000005", "completion": "0.000005"})}


def refused(world: World, kind: type[GatewayError], *names: str, **ask: Any) -> GatewayError:
    with pytest.raises(kind) as caught:
        world.plan(*names, **ask)
    return caught.value


# --- the split ----------------------------------------------------------------------------------------------------------


def test_the_split_over_ten_thousand_plans_is_within_one_and_a_half_points_of_the_weights():
    world = serve("one", "two", "three")
    world.weights = {1: 6, 2: 3, 3: 1}
    firsts = Counter(world.slugs()[0] for _ in range(10_000))

    for slug, share in (("one", 0.6), ("two", 0.3), ("three", 0.1)):
        assert firsts[slug] / 10_000 == pytest.approx(share, abs=0.015)


def test_weights_are_normalised_over_what_the_filters_leave():
    world = serve("one", "two", "three")
    world.weights = {1: 6, 2: 3, 3: 1}
    found = world.plan(preferences={"ignore": ["one"]})

    assert {c.adapter.provider.slug: c.share for c in found.candidates} == {"two": 0.75, "three": 0.25}


def test_weight_zero_stands_by_behind_every_weight_in_listed_order():
    world = serve("one", "two", "three")
    world.weights = {1: 0, 2: 0, 3: 1}

    assert {tuple(world.slugs()) for _ in range(20)} == {("three", "one", "two")}
    assert [c.share for c in world.plan().candidates] == [1, 0, 0]
    assert world.plan().candidates[1].reason == "stands by: weight 0"


def test_weight_zero_serves_where_it_alone_is_left():
    world = serve("one", "two")
    world.weights = {1: 0}

    assert world.slugs(preferences={"only": ["one"]}) == ["one"]


def test_the_same_dice_give_the_same_plan():
    plans = []
    for _ in range(2):
        world = serve("one", "two", "three", "four")
        plans.append([world.slugs() for _ in range(20)])

    assert plans[0] == plans[1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_every_adapter_once_and_shares_that_make_one(strategy: str):
    world = serve("a_local", "two", "three", "b_local")
    world.policy = PolicyEntry(strategy=strategy)
    world.weights = {3: 0}
    found = world.plan()

    assert sorted(c.adapter.id for c in found.candidates) == [1, 2, 3, 4]
    assert sum(c.share for c in found.candidates) == pytest.approx(1)
    assert found.candidates[-1].adapter.id == 3
    assert found.strategy == strategy


# --- names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["acme/falcon", "acme/falcon-20261001", "falcon", "acme/falcon:online", "falcon:nitro:online"]
)
def test_a_model_is_found_by_id_alias_canonical_slug_and_dynamic_suffix(name: str):
    world = World(model(adapter(provider("one", 1), 1), aliases=("falcon",)))

    assert world.plan(name).candidates[0].model.id == "acme/falcon"


def test_a_static_suffix_is_a_model_of_its_own():
    free = model(adapter(provider("two", 2), 2, "acme/falcon:free"), id="acme/falcon:free")
    world = World(model(adapter(provider("one", 1), 1)), free)

    assert world.plan("acme/falcon:free").candidates[0].adapter.id == 2
    refused(world, ModelNotFound, "acme/falcon:extended")


@pytest.mark.parametrize(
    ("suffix", "strategy"),
    [
        ("floor", "sort:price"),
        ("nitro", "sort:throughput"),
        ("exacto", "sort:exacto"),
        ("nitro:floor", "sort:price"),
        ("floor:online", "sort:price"),
    ],
)
def test_a_suffix_sorts(suffix: str, strategy: str):
    world = serve("dear", "cheap", dear=DEAR, cheap=CHEAP)

    assert world.plan(f"acme/falcon:{suffix}").strategy == strategy


def test_an_unknown_model_is_answered_with_close_matches():
    error = refused(serve("one"), ModelNotFound, "acme/falcn")

    assert error.status == 404
    assert error.metadata["close_matches"] == ["acme/falcon", "acme/falcon-20261001"]
    assert "acme/falcn is not a model of this gateway. Did you mean acme/falcon" in error.message
    assert error.availability == {"code": "model_not_found", "retryable": False, "requested_models": ["acme/falcn"]}


def test_an_unknown_fallback_model_is_left_out_with_its_reason():
    found = serve("one").plan("acme/falcon", "acme/nobody")

    assert len(found.candidates) == 1
    assert [(e.model_id, e.code) for e in found.exclusions] == [("acme/nobody", "model_not_found")]


# --- several models -----------------------------------------------------------------------------------------------------


def two_models() -> World:
    falcon = model(adapter(provider("one", 1), 1, **DEAR), adapter(provider("two", 2), 2, **DEAR))
    orbit = model(adapter(provider("three", 3), 3, "zeta/orbit", **CHEAP), id="zeta/orbit")
    return World(falcon, orbit)


def test_models_are_tried_in_the_callers_order_each_once():
    found = two_models().plan("zeta/orbit", "acme/falcon", "zeta/orbit")

    assert [c.model.id for c in found.candidates] == ["zeta/orbit", "acme/falcon", "acme/falcon"]
    assert [c.share for c in found.candidates] == [1, 0, 0]


def test_each_model_follows_its_own_policy():
    world = two_models()
    world.policies = {"zeta/orbit": PolicyEntry(max_attempts=7)}
    found = world.plan("zeta/orbit", "acme/falcon")

    assert found.policy.max_attempts == 7
    assert [c.policy.max_attempts for c in found.candidates] == [7, 3, 3]


def test_sort_with_partition_none_compares_the_adapters_of_all_models():
    world = two_models()

    assert world.slugs("acme/falcon", "zeta/orbit", preferences={"sort": "price"})[-1] == "three"
    across = {"sort": {"by": "price", "partition": "none"}}
    assert world.slugs("acme/falcon", "zeta/orbit", preferences=across)[0] == "three"


# --- what callers prefer ------------------------------------------------------------------------------------------------


def test_order_comes_first_and_the_others_stand_behind():
    world = serve("one", "two", "three")
    found = world.plan(preferences={"order": ["three", "nobody", "one"]})

    assert [c.adapter.provider.slug for c in found.candidates] == ["three", "one", "two"]
    assert found.strategy == "order"
    assert found.candidates[1].reason == "number 3 in provider.order"


def test_order_without_fallbacks_keeps_its_first_that_may_serve():
    world = serve("one", "two", "three", two={"is_enabled": False})
    preferences = {"order": ["two", "three", "one"], "allow_fallbacks": False}

    assert world.slugs(preferences=preferences) == ["three"]
    assert world.reasons(preferences=preferences) == {"Two": "disabled", "One": "fallbacks_forbidden"}


def test_order_without_fallbacks_that_names_nobody_is_a_404():
    error = refused(serve("one"), NoEndpoints, preferences={"order": ["two"], "allow_fallbacks": False})

    assert error.metadata["requested_providers"] == ["two"]
    assert error.metadata["available_providers"] == ["one"]


def test_without_fallbacks_one_candidate_per_model_is_kept():
    found = two_models().plan("acme/falcon", "zeta/orbit", preferences={"allow_fallbacks": False})

    assert [c.model.id for c in found.candidates] == ["acme/falcon", "zeta/orbit"]


def test_order_may_name_what_has_weight_zero():
    world = serve("one", "two")
    world.weights = {2: 0}

    assert world.slugs(preferences={"order": ["two"]}) == ["two", "one"]


def test_sort_orders_strictly():
    world = serve("dear", "cheap", dear=DEAR, cheap=CHEAP)
    world.weights = {1: 100}

    assert {tuple(world.slugs(preferences={"sort": "price"})) for _ in range(20)} == {("cheap", "dear")}


@pytest.mark.parametrize(
    "preference", [{"preferred_min_throughput": 50}, {"preferred_max_latency": {"p90": 0.5}}], ids=["throughput", "latency"]
)
def test_preferred_speed_puts_slow_adapters_back_and_leaves_none_out(preference: dict[str, Any]):
    world = serve("slow", "fast", "unknown")
    world.weights = {1: 1000}
    for adapter_id, ttft_s, tokens in ((1, 2.0, 10), (2, 0.1, 1000)):
        world.health.started(adapter_id, NOW)
        world.health.succeeded(adapter_id, NOW, ttft_s, ttft_s + 1, tokens)
    found = world.plan(preferences=preference)

    assert found.candidates[-1].adapter.provider.slug == "slow"
    assert found.candidates[-1].reason == "put back: slower than the caller prefers"
    assert found.candidates[-1].share == 0
    assert len(found.candidates) == 3


# --- stickiness ---------------------------------------------------------------------------------------------------------


def test_the_sticky_adapter_comes_first():
    world = serve("one", "two", "three")
    world.weights = {1: 1000}
    found = world.plan(sticky_adapter_id=3)

    assert found.candidates[0].adapter.id == 3
    assert found.strategy == "sticky"
    assert found.candidates[0].reason == "sticky: this conversation's prompt is cached here"
    assert sum(c.share for c in found.candidates) == 1


def test_an_explicit_order_disables_stickiness():
    world = serve("one", "two", "three")

    assert world.slugs(sticky_adapter_id=3, preferences={"order": ["one"]})[0] == "one"


def test_a_sticky_adapter_that_may_not_serve_is_ignored():
    world = serve("one", "two")

    assert world.slugs(sticky_adapter_id=2, preferences={"ignore": ["two"]}) == ["one"]


def test_a_pin_on_a_later_model_does_not_skip_the_first_model():
    assert two_models().plan("acme/falcon", "zeta/orbit", sticky_adapter_id=3).candidates[0].model.id == "acme/falcon"


# --- when nothing is left -----------------------------------------------------------------------------------------------


def test_a_request_that_rules_everything_out_is_a_404_that_says_which_rule_removed_which_provider():
    world = serve("one", "two", one=DEAR)
    error = refused(world, NoEndpoints, preferences={"max_price": {"prompt": 2}, "ignore": ["two"]})

    assert error.status == 404
    assert "one: prompt costs 5 USD per million tokens, more than provider.max_price.prompt (2)" in error.message
    assert [e["code"] for e in error.metadata["exclusions"]] == ["provider_ignore", "max_price"]
    assert error.availability == {
        "code": "constraint_filtered",
        "retryable": False,
        "requested_models": ["acme/falcon"],
        "affected_providers": ["One", "Two"],
        "excluded_by": ["allowed_providers", "max_price"],
        "fallback_models": [],
        "constraint": {"field": "provider.ignore", "detail": "named in provider.ignore"},
    }


def test_a_data_policy_that_rules_everything_out_says_so():
    error = refused(serve("one"), NoEndpoints, preferences={"zdr": True})

    assert error.availability is not None
    assert error.availability["code"] == "privacy_restricted"
    assert error.availability["excluded_by"] == ["data_policy:zdr"]


def test_a_model_with_only_local_adapters_answers_503_while_offload_is_on():
    world = serve("a_local", "b_local")
    world.policy = PolicyEntry(is_offloaded=True)
    error = refused(world, NoCandidates)

    assert error.status == 503
    assert "a_local: local engines take no traffic while hard offload is on" in error.message
    assert error.availability is not None
    assert error.availability["code"] == "temporarily_unavailable"
    assert error.availability["excluded_by"] == ["offload"]


def test_hard_offload_leaves_the_hosted_adapters():
    world = serve("a_local", "two")
    world.policy = PolicyEntry(is_offloaded=True)

    assert world.slugs() == ["two"]
    assert world.reasons() == {"A_Local": "offloaded"}


def test_open_breakers_everywhere_are_a_503_that_says_when_to_come_back():
    world = serve("one", "two")
    for adapter_id in (1, 2):
        for _ in range(5):
            world.health.started(adapter_id, NOW)
            world.health.failed(adapter_id, NOW + adapter_id, ProviderUnavailable("boom"))
    error = refused(world, NoCandidates, now=NOW + 5)

    assert error.headers["Retry-After"] == "6"
    assert error.availability is not None
    assert error.availability["retryable"] is True
    assert error.availability["retry_after"] == 6
    assert "one: paused for another 6 s after faults; the last one: ProviderUnavailable: boom" in error.message


def limited(world: World, adapter_id: int, seconds: float) -> None:
    world.health.started(adapter_id, NOW)
    world.health.failed(adapter_id, NOW, ProviderRateLimited("slow down", retry_after_s=seconds))


def test_where_every_provider_asks_for_a_pause_the_answer_is_a_429_that_says_how_long():
    world = serve("one", "two", "off", off={"unconfigured": "environment variable OFF_KEY is not set"})
    limited(world, 1, 90)
    limited(world, 2, 40)
    error = refused(world, ProviderRateLimited, now=NOW + 5)

    assert (error.status, error.headers["Retry-After"]) == (429, "35")
    assert error.availability is not None
    assert (error.availability["retry_after"], error.availability["retryable"]) == (35, True)
    assert [each["code"] for each in error.metadata["exclusions"]] == ["unconfigured", "breaker_open", "breaker_open"]


def test_where_another_one_has_failed_it_is_a_503_all_the_same():
    world = serve("one", "two")
    limited(world, 1, 90)
    for _ in range(5):
        world.health.started(2, NOW)
        world.health.failed(2, NOW, ProviderUnavailable("boom"))

    refused(world, NoCandidates, now=NOW + 5)


def test_what_the_request_rules_out_anyway_is_a_404_even_while_a_breaker_is_open():
    world = serve("one")
    for _ in range(5):
        world.health.started(1, NOW)
        world.health.failed(1, NOW, ProviderUnavailable("boom"))

    refused(world, NoEndpoints, preferences={"ignore": ["one"]})


def test_a_model_whose_adapters_are_all_off_is_a_404_that_names_the_variable():
    missing = "environment variable ONE_API_KEY is not set"
    world = serve("one", "two", one={"unconfigured": missing}, two={"is_enabled": False})
    error = refused(world, NoEndpoints)

    assert missing in error.message
    assert error.availability is not None
    assert (error.availability["code"], error.availability["retryable"]) == ("no_endpoints", False)


def test_an_adapter_that_is_off_does_not_turn_a_404_into_a_503():
    world = serve("one", "two", one={"is_enabled": False})

    refused(world, NoEndpoints, preferences={"max_price": {"prompt": 0}})


def test_a_model_without_adapters_is_a_404():
    assert "it has no adapter" in refused(World(model()), NoEndpoints).message


def test_a_key_that_may_use_none_of_the_models_is_a_403():
    error = refused(two_models(), PermissionDenied, "acme/falcon", allowed_models=frozenset({"zeta/orbit"}))

    assert error.status == 403
    assert "This key may not use acme/falcon" in error.message


def test_a_key_that_may_use_one_of_the_models_gets_that_one():
    found = two_models().plan("acme/falcon", "zeta/orbit", allowed_models=frozenset({"zeta/orbit"}))

    assert [c.model.id for c in found.candidates] == ["zeta/orbit"]
    assert {e.code for e in found.exclusions} == {"key_models"}


# --- explanations -------------------------------------------------------------------------------------------------------


def test_a_plan_describes_every_adapter_with_its_rank_or_its_reason():
    world = serve("one", "two", one={"quantization": "fp8"})
    described = world.plan(preferences={"ignore": ["two"]}).describe()

    assert described == [
        {
            "model": "acme/falcon",
            "provider": "One",
            "tag": "one/fp8",
            "adapter_id": 1,
            "rank": 1,
            "share": 1.0,
            "reason": "drawn by weight",
        },
        {
            "model": "acme/falcon",
            "provider": "Two",
            "tag": "two",
            "adapter_id": 2,
            "rank": None,
            "code": "provider_ignore",
            "reason": "named in provider.ignore",
        },
    ]


# --- whatever is asked --------------------------------------------------------------------------------------------------

_SLUGS = ("a_local", "b", "c", "d")
_NAMES = st.lists(st.sampled_from([*_SLUGS, "c/fp8", "nobody"]), max_size=3)
_PREFERENCES = st.fixed_dictionaries(
    {},
    optional={
        "order": _NAMES,
        "only": _NAMES,
        "ignore": _NAMES,
        "allow_fallbacks": st.booleans(),
        "require_parameters": st.booleans(),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "quantizations": st.lists(st.sampled_from(["fp8", "unknown"]), max_size=2),
        "sort": st.sampled_from(["price", "exacto", {"by": "latency", "partition": "none"}]),
        "max_price": st.fixed_dictionaries({"prompt": st.integers(0, 6)}),
        "preferred_max_latency": st.floats(0, 2).map(lambda seconds: round(seconds, 9)),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    preferences=_PREFERENCES,
    strategy=st.sampled_from(list(STRATEGIES)),
    names=st.lists(st.sampled_from(["acme/falcon", "zeta/orbit", "zeta/orbit:floor", "x"]), min_size=1, max_size=3),
    weights=st.dictionaries(st.integers(1, 8), st.sampled_from([0, 0.5, 3])),
    failing=st.sets(st.integers(1, 8), max_size=4),
    sticky=st.none() | st.integers(1, 8),
    is_offloaded=st.booleans(),
    prompt_tokens=st.sampled_from([0, 100, 9000]),
    parameters=st.sets(st.sampled_from(["tools", "temperature", "verbosity"])),
    seed=st.integers(0, 5),
)
def test_every_adapter_of_the_asked_models_is_a_candidate_or_an_exclusion_exactly_once(
    preferences, strategy, names, weights, failing, sticky, is_offloaded, prompt_tokens, parameters, seed
):
    models = []
    for offset, model_id in ((0, "acme/falcon"), (4, "zeta/orbit")):
        served = [
            adapter(
                provider(slug, number, is_local=slug == "a_local"),
                number + offset,
                model_id,
                quantization="fp8" if number == 3 else None,
                is_enabled=number + offset != 8,
                supported_parameters=frozenset({"temperature", "tools"} if number % 2 else {"temperature"}),
                prices=(CHEAP if number < 3 else DEAR)["prices"],
            )
            for number, slug in enumerate(_SLUGS, start=1)
        ]
        models.append(model(*served, id=model_id))
    health = Health()
    for adapter_id in failing:
        for _ in range(5):
            health.started(adapter_id, NOW)
            health.failed(adapter_id, NOW, ProviderUnavailable("boom"))
    ask = Ask(
        tuple(names),
        parse(preferences),
        prompt_tokens=prompt_tokens,
        parameters=frozenset(parameters),
        sticky_adapter_id=sticky,
    )
    table = RoutingTable(weights, {}, PolicyEntry(strategy=strategy, is_offloaded=is_offloaded))
    asked = {name.partition(":")[0] for name in names} - {"x"}
    expected = sorted(a.id for m in models if m.id in asked for a in m.adapters)

    try:
        found = plan.build(ask, Catalogue.of(models), table, health, now=NOW, dice=random.Random(seed))
    except ModelNotFound:
        assert not asked
        return
    except (NoEndpoints, NoCandidates, PromptTooLong) as error:
        excluded = [e["adapter_id"] for e in error.metadata["exclusions"] if e["adapter_id"] is not None]
        assert sorted(excluded) == expected
        return

    reported = [c.adapter.id for c in found.candidates] + [
        e.adapter_id for e in found.exclusions if e.adapter_id is not None
    ]
    assert sorted(reported) == expected
    assert all(c.model.id == c.adapter.model_id for c in found.candidates)
    assert 0 < sum(c.share for c in found.candidates) <= 1.000001
