"""What a request is told that nothing may serve: to change, to wait and for how long, or that nobody can help it."""

from __future__ import annotations

import pytest

from catalog.limits import Limits
from gateway_project.errors import (
    GatewayError,
    MaxTokensTooLarge,
    ModelNotFound,
    NoCandidates,
    NoEndpoints,
    PromptTooLong,
    ProviderRateLimited,
    ProviderUnavailable,
    RateLimited,
)
from routingapp.entries import PolicyEntry
from routingapp.filters import FILTERS
from routingapp.filters.rule import Cause
from routingapp.keypool import Fault
from routingapp.limits import CONCURRENCY_RETRY_S
from tests.routingapp.world import NOW, World, serve

KEYED = {"provider": {"api_keys": ("${A}", "${B}")}}


def refused(world: World, kind: type[GatewayError], **ask: object) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        world.plan(**ask)  # type: ignore[arg-type]
    assert type(caught.value) is kind, caught.value
    return caught.value


def rest(world: World, slug: str, *seconds: float, fault: Fault = Fault.RATE_LIMITED) -> None:
    """Each key of the provider in turn meets `fault`, and rests for so long."""
    (provider,) = (each.provider for each in world.catalogue.models[0].adapters if each.provider.slug == slug)
    for position, rest_s in enumerate(seconds):
        world.capacity.pools.failed(provider, position, fault, rest_s, NOW, world.capacity.revision)


def ask_for_pause(world: World, adapter_id: int, seconds: float) -> None:
    world.health.started(adapter_id, NOW)
    world.health.failed(adapter_id, NOW, ProviderRateLimited("slow down", retry_after_s=seconds))


def fall_over(world: World, adapter_id: int) -> None:
    for _ in range(5):
        world.health.started(adapter_id, NOW)
        world.health.failed(adapter_id, NOW, ProviderUnavailable("boom"))


def use_up(world: World, number: int) -> None:
    """Take all that the adapter's limits leave."""
    adapter = world.catalogue.models[0].adapters[number - 1]
    world.capacity.limiter.take(world.capacity.scopes_of(adapter), 1, NOW)


def test_keys_that_all_rest_after_a_429_are_a_429_until_the_first_is_back():
    world = serve("one", one=KEYED)
    rest(world, "one", 40, 25)
    error = refused(world, ProviderRateLimited, now=NOW + 5)

    assert (error.status, error.error_type, error.headers["Retry-After"]) == (429, "rate_limit_exceeded", "20")
    assert (
        "acme/falcon is rate limited. Try again in 20 s. one: no key can be used: key 1 of 2 was rate limited"
        in error.message
    )
    assert [each["code"] for each in error.metadata["exclusions"]] == ["keys_exhausted"]
    assert error.availability is not None
    assert (error.availability["retryable"], error.availability["retry_after"]) == (True, 20)


def test_refused_keys_are_a_503():
    world = serve("one", one=KEYED)
    rest(world, "one", 0, 0, fault=Fault.REFUSED)

    error = refused(world, NoCandidates)
    assert error.headers["Retry-After"] == "600"
    assert "key 1 of 2 was refused, 600 s left" in error.message
    assert "$" not in str(error.body()), "names of variables are the operator's"


def test_one_refused_key_among_those_that_rest_is_a_503_too():
    world = serve("one", one=KEYED)
    rest(world, "one", 40, 25)
    rest(world, "one", 0, fault=Fault.REFUSED)

    assert refused(world, NoCandidates).headers["Retry-After"] == "25"


# --- Whose doing it is ------------------------------------------------------------------------------------------------


def break_down(world: World, provider_id: int) -> None:
    world.health.set_engine(provider_id, is_up=False, detail="connection refused", now=NOW)


def test_a_503_is_the_doing_of_providers_that_are_paused_down_or_refuse_the_key():
    paused = serve("one")
    fall_over(paused, 1)
    keyless = serve("one", one=KEYED)
    rest(keyless, "one", 0, 0, fault=Fault.REFUSED)
    down = serve("a_local")
    break_down(down, 1)

    assert [refused(world, NoCandidates).domain for world in (paused, keyless, down)] == ["provider"] * 3


def test_a_503_that_hard_offload_alone_explains_is_the_operators_doing():
    world = serve("a_local")
    world.policy = PolicyEntry(is_offloaded=True)

    assert refused(world, NoCandidates).domain == "policy"


def test_a_503_is_the_providers_doing_where_another_one_is_offloaded_or_full():
    world = serve("a_local", "two", "full", full={"limits": Limits(rpm=1)})
    world.policy = PolicyEntry(is_offloaded=True)
    fall_over(world, 2)
    use_up(world, 3)

    assert refused(world, NoCandidates).domain == "provider"


def test_offload_beside_a_limit_of_ours_stays_the_operators_doing():
    world = serve("a_local", "full", full={"limits": Limits(rpm=1)})
    world.policy = PolicyEntry(is_offloaded=True)
    use_up(world, 2)

    assert refused(world, NoCandidates).domain == "policy"


def test_every_state_that_keeps_an_adapter_away_is_known_as_somebodys_doing():
    states = {rule.code for rule in FILTERS if rule.cause is Cause.STATE}
    assert states == {"engine_down", "breaker_open", "keys_exhausted", "offloaded", "limit"}


# --- How long, and what else --------------------------------------------------------------------------------------------


def test_of_limits_of_every_kind_the_soonest_return_is_told():
    world = serve("pool", "asked", "full", pool=KEYED, full={"limits": Limits(concurrency=1)})
    rest(world, "pool", 40, 50)
    ask_for_pause(world, 2, 90)
    use_up(world, 3)
    assert CONCURRENCY_RETRY_S < 40
    error = refused(world, ProviderRateLimited)

    assert error.headers["Retry-After"] == str(round(CONCURRENCY_RETRY_S))
    assert [each["code"] for each in error.metadata["exclusions"]] == ["breaker_open", "keys_exhausted", "limit"]
    assert refused(world, RateLimited, preferences={"only": ["full"]}).headers["Retry-After"] == str(
        round(CONCURRENCY_RETRY_S)
    )


def test_one_that_has_failed_makes_it_a_503_that_knows_the_soonest_return_all_the_same():
    world = serve("pool", "broken", pool=KEYED)
    rest(world, "pool", 4, 50)
    fall_over(world, 2)

    assert refused(world, NoCandidates).headers["Retry-After"] == "4"


def test_what_the_caller_rules_out_for_good_does_not_hide_a_limit_that_passes():
    world = serve("pool", "other", pool=KEYED)
    rest(world, "pool", 40, 50)
    fall_over(world, 2)
    error = refused(world, ProviderRateLimited, preferences={"only": ["pool"]})

    assert error.headers["Retry-After"] == "40"
    assert [each["code"] for each in error.metadata["exclusions"]] == ["provider_only", "keys_exhausted"]


def test_neither_does_it_hide_a_limit_of_ours():
    world = serve("full", "other", full={"limits": Limits(rpm=1)})
    use_up(world, 1)
    error = refused(world, RateLimited, preferences={"ignore": ["other"]})

    assert error.headers["X-RateLimit-Limit"] == "1"
    assert [each["code"] for each in error.metadata["exclusions"]] == ["provider_ignore", "limit"]


def test_what_the_caller_rules_out_itself_is_a_404_whatever_its_keys_do():
    world = serve("pool", pool=KEYED)
    rest(world, "pool", 40, 50)

    refused(world, NoEndpoints, preferences={"ignore": ["pool"]})


OFF = {"unconfigured": "environment variable OFF_KEY is not set", "context_length": 1_000_000}


def test_a_prompt_too_long_for_every_adapter_that_is_set_up_is_told_as_openrouter_does():
    world = serve("small", "large", "off", large={"context_length": 20_000}, off=OFF)
    error = refused(world, PromptTooLong, prompt_tokens=20_001)

    assert (error.status, error.error_type, error.availability) == (400, "context_length_exceeded", None)
    assert "maximum context length is 20000 tokens. However, you requested about 20001 tokens" in error.message
    codes = {each["provider"]: each["code"] for each in error.metadata["exclusions"]}
    assert codes == {"Off": "unconfigured", "Small": "context_length", "Large": "context_length"}


def test_more_max_tokens_than_any_adapter_answers_with_are_told_by_their_own_type():
    world = serve("small", "large", "off", large={"max_output_length": 8000}, off=OFF)
    error = refused(world, MaxTokensTooLarge, max_output_tokens=8001)

    assert (error.status, error.error_type) == (400, "max_tokens_exceeded")
    assert error.message.startswith("max_tokens is 8001, more than the 8000 tokens")


def test_where_something_else_is_in_the_way_as_well_shortening_is_not_all_that_may_help():
    world = serve("one", "two", "three", three={"context_length": 100_000})

    refused(world, NoEndpoints, prompt_tokens=9000, preferences={"ignore": ["three"]})
    refused(world, NoEndpoints, prompt_tokens=9000, max_output_tokens=5000)


def test_a_breaker_that_is_open_on_the_one_that_is_large_enough_is_waited_for():
    world = serve("small", "large", large={"context_length": 100_000})
    fall_over(world, 2)

    refused(world, NoCandidates, prompt_tokens=9000)


@pytest.mark.parametrize(
    ("names", "words"),
    [(("a/x",), "a/x is not a model of"), (("a/x", "b/y", "c/z"), "a/x, b/y, c/z are not models of")],
)
def test_unknown_models_are_named_in_words_that_agree(names, words):
    with pytest.raises(ModelNotFound, match=words):
        serve("one").plan(*names)
