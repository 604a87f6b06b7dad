"""Every rule that leaves an adapter out: what passes, what does not, and the code it is reported under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.entries import Prices
from gateway_project.errors import ProviderUnavailable
from routingapp import filters
from routingapp.entries import PolicyEntry
from routingapp.filters import FILTERS
from tests.routingapp.world import NOW, World, adapter, model, provider, serve


def test_every_rule_has_a_code_of_its_own():
    assert len({rule.code for rule in FILTERS}) == len(FILTERS)


def test_the_guide_names_every_rule():
    guide = Path(filters.__file__).parent.with_name("README.md").read_text()

    assert [rule.code for rule in FILTERS if f"`{rule.code}`" not in guide] == []


@pytest.mark.parametrize(
    ("fields", "code"), [({"is_enabled": False}, "disabled"), ({"unconfigured": "X is not set"}, "unconfigured")]
)
def test_an_adapter_that_is_off_or_unconfigured_is_left_out(fields: dict[str, Any], code: str):
    world = serve("one", "two", one=fields)

    assert world.slugs() == ["two"]
    assert world.reasons() == {"One": code}


def test_an_unconfigured_provider_names_its_variable():
    world = serve("one", "two", one={"provider": {"unconfigured": "environment variable ONE_URL is not set"}})

    assert world.plan().exclusions[0].detail == "environment variable ONE_URL is not set"


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("acme", ["acme", "acme"]),
        ("ACME", ["acme", "acme"]),
        ("Acme AI", ["acme", "acme"]),
        ("acme/fp8", ["acme"]),
        ("other", ["other"]),
    ],
)
def test_a_provider_is_named_by_slug_display_name_or_exact_tag(name: str, left: list[str]):
    acme = provider("acme", 1, name="Acme AI")
    world = World(
        model(
            adapter(acme, 1, quantization="fp8"),
            adapter(acme, 2, quantization="bf16"),
            adapter(provider("other", 2), 3),
        )
    )

    assert world.slugs(preferences={"only": [name]}) == left
    kept = world.plan(preferences={"ignore": [name]}).candidates
    assert len(kept) == 3 - len(left)


def test_the_keys_providers_are_named_likewise():
    world = serve("one", "two")

    assert world.slugs(allowed_providers=frozenset({"One"})) == ["one"]
    assert world.reasons(allowed_providers=frozenset({"One"})) == {"Two": "key_providers"}


@pytest.mark.parametrize("name", ["acme/falcon", "acme/falcon-20261001", "falcon"])
def test_the_keys_models_may_be_written_by_any_of_their_names(name: str):
    world = World(model(adapter(provider("one", 1), 1), aliases=("falcon",)))

    assert world.slugs(allowed_models=frozenset({name})) == ["one"]


def test_data_collection_deny_leaves_those_that_collect_nothing_and_local_engines():
    world = serve("one", "two", "a_local", two={"provider": {"collects_data": False}})

    assert sorted(world.slugs(preferences={"data_collection": "deny"})) == ["a_local", "two"]
    assert world.reasons(preferences={"data_collection": "deny"}) == {"One": "data_collection"}


def test_zero_data_retention_leaves_those_that_promise_it_and_local_engines():
    world = serve("one", "two", "a_local", two={"provider": {"has_zero_data_retention": True}})

    assert sorted(world.slugs(preferences={"zdr": True})) == ["a_local", "two"]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (["fp8"], ["fp8", "mxfp8"]),
        (["fp4"], ["mxfp4", "nvfp4"]),
        (["mxfp8"], ["mxfp8"]),
        (["unknown"], ["none"]),
        (["bf16", "unknown"], ["none"]),
    ],
)
def test_a_coarse_quantization_stands_for_its_finer_kinds(wanted: list[str], left: list[str]):
    kinds = {"fp8": "fp8", "mxfp8": "mxfp8", "mxfp4": "mxfp4", "nvfp4": "nvfp4", "none": None}
    world = serve(*kinds, **{slug: {"quantization": kind} for slug, kind in kinds.items()})

    assert sorted(world.slugs(preferences={"quantizations": wanted})) == left


def test_max_price_is_per_million_tokens_and_includes_its_limit():
    prices = Prices.parse({"prompt": "0.000002", "completion": "0.000004", "request": "0.01"})
    world = serve("one", "free", one={"prices": prices}, free={"prices": Prices()})

    assert world.reasons(preferences={"max_price": {"prompt": "2", "completion": 4, "request": "0.01"}}) == {}
    for limit in ({"prompt": "1.99"}, {"completion": 3}, {"request": "0.009"}):
        assert world.reasons(preferences={"max_price": limit}) == {"One": "max_price"}


def test_a_prompt_must_fit_the_context():
    world = serve("small", "large", large={"context_length": 100_000})

    assert world.reasons(prompt_tokens=8192) == {}
    assert world.reasons(prompt_tokens=8193) == {"Small": "context_length"}


def test_an_answer_must_fit_the_maximum_output():
    world = serve("small", "large", large={"max_output_length": None})

    assert world.reasons(max_output_tokens=4096) == {}
    assert world.reasons(max_output_tokens=4097) == {"Small": "max_output"}


def test_modalities_are_the_models():
    seeing = model(adapter(provider("two", 2), 2, "zeta/eye"), id="zeta/eye", input_modalities=frozenset({"text", "image"}))
    world = World(model(adapter(provider("one", 1), 1)), seeing)
    found = world.plan("acme/falcon", "zeta/eye", input_modalities=frozenset({"text", "image"}))

    assert [c.model.id for c in found.candidates] == ["zeta/eye"]
    assert found.exclusions[0].detail == "acme/falcon does not take image as input"


def test_required_parameters_are_required_and_named():
    world = serve("one", "two", two={"supported_parameters": frozenset({"seed", "logprobs"})})
    ask: dict[str, Any] = {"parameters": frozenset({"seed", "logprobs"}), "preferences": {"require_parameters": True}}

    assert world.slugs(**ask) == ["two"]
    assert world.plan(**ask).exclusions[0].detail == (
        "does not support logprobs, seed, and provider.require_parameters is true"
    )


@pytest.mark.parametrize("parameter", ["tools", "response_format", "structured_outputs", "verbosity"])
def test_a_soft_preference_filters_only_where_some_adapter_meets_it(parameter: str):
    asked = frozenset({parameter, "seed"})
    able = serve("one", "two", two={"supported_parameters": frozenset({parameter})})

    assert able.reasons(parameters=asked) == {"One": f"prefers_{parameter}"}
    assert serve("one", "two").reasons(parameters=asked) == {}


def test_an_adapter_that_is_off_meets_no_soft_preference():
    world = serve("one", "two", two={"supported_parameters": frozenset({"tools"}), "is_enabled": False})

    assert world.slugs(parameters=frozenset({"tools"})) == ["one"]


def test_tools_are_not_dropped_because_the_adapter_that_has_them_is_paused():
    world = serve(
        "one", "two", "three", **{slug: {"supported_parameters": frozenset({"tools"})} for slug in ("two", "three")}
    )
    for _ in range(5):
        world.health.started(2, NOW)
        world.health.failed(2, NOW, ProviderUnavailable("boom"))

    assert world.slugs(parameters=frozenset({"tools"})) == ["three"]
    assert world.reasons(parameters=frozenset({"tools"})) == {"One": "prefers_tools", "Two": "breaker_open"}


def test_an_engine_that_fails_its_health_check_takes_no_traffic():
    world = serve("a_local", "two")
    world.health.set_engine(1, is_up=False, detail="connection refused", now=NOW)

    assert world.reasons() == {"A_Local": "engine_down"}
    world.health.set_engine(1, is_up=True, detail="", now=NOW)
    assert world.reasons() == {}


def test_an_old_report_of_an_engine_does_not_count():
    world = serve("a_local", "two")
    world.policy = PolicyEntry(health_check_interval_s=20)
    world.health.set_engine(1, is_up=False, detail="connection refused", now=NOW)

    assert world.reasons(now=NOW + 60) == {"A_Local": "engine_down"}
    assert world.reasons(now=NOW + 61) == {}
