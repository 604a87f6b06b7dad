"""Every metric moves, by the right amount, and names nothing that a stranger has sent."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence

import httpx
import pytest

from tests.fakes.call import Reply
from tests.fakes.catalogue import REFUSED, Served, impatient, provider_slug, seed
from tests.fakes.scenarios import completion, scenario
from tests.journeys.scraping import AUTH, TOKEN, Scrape
from tests.live import Gateway, until

MODELS: dict[str, str | Served | Sequence[str | Served]] = {
    "m/ok": "ok?tokens=5",
    "m/cached": "ok?tokens=8&cached=5&thinking=3",
    "m/written": "cache-written",
    "m/paced": "ok?tokens=6&delay=0.05",
    "m/thoughtful": "ok?tokens=6&delay=0.05&thinking=2000",
    "m/late": "slow-first?delay=0.3",
    "m/second": (REFUSED, "ok?tokens=2"),
    "m/retried": "flapping",
    "m/resumed": ("cut?tokens=9&after=3", "ok?tokens=9"),
    "m/refused": "status?code=401",
    "m/unwelcome": "status?code=401",
    "m/broken": "status?code=500",
    "m/picky": "status?code=400",
    "m/endless": "ok?tokens=400&delay=0.05",
    "m/mute": impatient("silence"),
}


@scenario("cache-written")
async def cache_written(reply: Reply) -> None:
    """An answer whose prompt was written to the provider's cache: 9 of 12 tokens."""
    usage = {"prompt_tokens": 12, "completion_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 9}}
    await reply.json(completion(reply.call, {"content": "kept"}, usage=usage))


@pytest.fixture(scope="module")
def watched(tmp_path_factory, fake, migrated_database) -> Iterator[Gateway]:
    content = seed(fake, MODELS)
    directory = tmp_path_factory.mktemp("watched")
    with Gateway(
        directory,
        content,
        {"METRICS_TOKEN": TOKEN, "MAX_BODY_MB": "0.1", "FAILED_AUTH_LIMIT": "3"},
        database=migrated_database,
    ) as running:
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture
def scrape(watched) -> Scrape:
    return Scrape(watched)


def ask(gateway: Gateway, model: str, **more) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "one two three"}], **more}
    return gateway.client.post("/v1/chat/completions", json=body)


def leave(gateway: Gateway, model: str, after_bytes: int, **more) -> None:
    """Ask, read `after_bytes`, and leave without a word."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
    with (
        contextlib.suppress(httpx.ReadTimeout),
        httpx.Client(base_url=gateway.url, timeout=0.2 if not after_bytes else 5) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        received = 0
        for part in response.iter_raw():
            received += len(part)
            if received >= after_bytes:
                return


# --- Who may read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": "sessionid=none"}],
    ids=["nothing", "a wrong token", "another scheme", "a dead session"],
)
def test_strangers_read_nothing(watched, headers):
    response = watched.client.get("/metrics", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "gateway_" not in response.text


def test_the_page_is_not_open_either_where_no_token_is_set(gateway):
    assert gateway.client.get("/metrics").status_code == 401
    assert gateway.client.get("/metrics", headers={"Authorization": "Bearer none"}).status_code == 401


def test_django_and_its_database_are_counted_too(watched, scrape):
    watched.client.get("/admin/login/")
    assert scrape.change("django_http_requests_total_by_method_total", method="GET") >= 1
    assert scrape.value("django_db_execute_total", vendor=watched.database.vendor) > 0


# --- What requests move -----------------------------------------------------------------------------------------------


def test_an_answered_request_moves_requests_tokens_cost_and_the_attempt(watched, scrape):
    assert ask(watched, "m/cached").status_code == 200
    of = {"model": "m/cached", "provider": provider_slug("m/cached")}
    assert scrape.change("gateway_requests_total", **of, endpoint="chat", stream="false", status="200") == 1
    assert scrape.change("gateway_request_duration_seconds_count", **of, stream="false") == 1
    assert scrape.change("gateway_tokens_total", **of, **{"class": "prompt"}) == 7
    assert scrape.change("gateway_tokens_total", **of, **{"class": "cache_read"}) == 5
    assert scrape.change("gateway_tokens_total", **of, **{"class": "completion"}) == 8
    assert scrape.change("gateway_tokens_total", **of, **{"class": "reasoning"}) == 3
    row = watched.row(model_id="m/cached")
    assert scrape.change("gateway_cost_usd_total", **of) == pytest.approx(float(row["cost_usd"]))
    assert scrape.change("gateway_upstream_attempts_total", provider=of["provider"], outcome="ok") == 1
    assert scrape.change("gateway_upstream_duration_seconds_count", provider=of["provider"]) == 1
    assert scrape.change("gateway_http_requests_total", route="/v1/chat/completions", method="POST", status="200") == 1
    assert scrape.change("gateway_errors_total") == 0


def test_what_is_written_to_a_cache_is_a_class_of_its_own(watched, scrape):
    assert ask(watched, "m/written").status_code == 200
    assert scrape.change("gateway_tokens_total", model="m/written", **{"class": "cache_write"}) == 9
    assert scrape.change("gateway_tokens_total", model="m/written", **{"class": "prompt"}) == 3


def test_a_stream_moves_time_to_first_token_and_inter_token_time(watched, scrape):
    assert ask(watched, "m/paced", stream=True).status_code == 200
    of = {"model": "m/paced", "provider": provider_slug("m/paced")}
    assert scrape.change("gateway_time_to_first_token_seconds_count", **of) == 1
    assert scrape.change("gateway_inter_token_seconds_count", **of) == 1
    # Six tokens 0.05 s apart, then a finish and usage.
    assert 0.03 < scrape.change("gateway_inter_token_seconds_sum", **of) < 0.15
    assert scrape.change("gateway_requests_total", **of, stream="true", status="200") == 1


def test_reasoning_before_the_first_token_does_not_make_the_others_look_fast(watched, scrape):
    assert ask(watched, "m/thoughtful", stream=True).status_code == 200
    assert 0.03 < scrape.change("gateway_inter_token_seconds_sum", model="m/thoughtful") < 0.15


@pytest.mark.parametrize("model", ["m/resumed", "m/endless"])
def test_a_stream_that_broke_or_was_left_has_no_inter_token_time(watched, scrape, model):
    if model == "m/endless":
        leave(watched, model, 700, stream=True)
    else:
        assert ask(watched, model, stream=True).text.endswith("data: [DONE]\n\n")
    until(lambda: scrape.change("gateway_requests_total", model=model) == 1, "it has ended")
    assert scrape.change("gateway_time_to_first_token_seconds_count", model=model) == 1
    assert scrape.change("gateway_inter_token_seconds_count", model=model) == 0


def test_time_to_first_token_is_the_callers(watched, scrape):
    ask(watched, "m/late", stream=True)
    assert scrape.change("gateway_time_to_first_token_seconds_sum", model="m/late") > 0.29


@pytest.mark.parametrize("is_stream", [False, True])
def test_overhead_is_the_time_that_no_provider_was_waited_for(watched, scrape, is_stream):
    began = time.monotonic()
    ask(watched, "m/late", stream=is_stream)
    assert time.monotonic() - began > 0.3
    assert scrape.change("gateway_overhead_seconds_count") == 1
    assert 0 < scrape.change("gateway_overhead_seconds_sum") < 0.15


def test_a_fallback_is_counted_beside_the_failed_attempt(watched, scrape):
    assert ask(watched, "m/second").status_code == 200
    assert scrape.change("gateway_reattempts_total", kind="fallback", model="m/second") == 1
    first, second = provider_slug("m/second", 1), provider_slug("m/second", 2)
    assert scrape.change("gateway_upstream_attempts_total", provider=first, outcome="provider_unavailable") == 1
    assert scrape.change("gateway_requests_total", model="m/second", provider=second, status="200") == 1
    assert scrape.change("gateway_overhead_seconds_count") == 0


def test_a_retry_is_not_a_fallback(watched, scrape):
    assert ask(watched, "m/retried").status_code == 200
    assert scrape.change("gateway_reattempts_total", kind="retry", model="m/retried") == 1
    assert scrape.change("gateway_reattempts_total", kind="fallback") == 0


def test_a_resumed_stream_is_a_resume_and_no_error(watched, scrape):
    assert ask(watched, "m/resumed", stream=True).text.endswith("data: [DONE]\n\n")
    assert scrape.change("gateway_reattempts_total", kind="resume", model="m/resumed") == 1
    assert scrape.change("gateway_upstream_attempts_total", outcome="provider_unavailable") == 1
    assert scrape.change("gateway_errors_total") == 0


@pytest.mark.parametrize(
    ("model", "domain", "error_type", "status"),
    [
        ("m/broken", "provider", "provider_unavailable", "502"),
        ("m/refused", "provider", "provider_unavailable", "502"),
        ("m/picky", "provider", "invalid_request", "400"),
        ("m/mute", "provider", "timeout", "504"),
    ],
)
def test_an_error_is_counted_by_whose_fault_it_was(watched, scrape, model, domain, error_type, status):
    assert ask(watched, model).status_code == int(status)
    assert scrape.change("gateway_errors_total", model=model, domain=domain, error_type=error_type) == 1
    assert scrape.change("gateway_requests_total", model=model, status=status) == 1


def test_a_refused_key_has_an_outcome_of_its_own(watched, scrape):
    ask(watched, "m/unwelcome")
    provider = provider_slug("m/unwelcome")
    assert scrape.change("gateway_upstream_attempts_total", provider=provider, outcome="authentication") == 1
    assert scrape.value("gateway_provider_keys_out", provider=provider, reason="refused") == 1
    assert scrape.value("gateway_provider_keys_out", provider=provider_slug("m/ok")) == 0
    assert scrape.value("gateway_shared_limits_up") == 1


def test_below_a_root_path_requests_take_the_same_lane_and_are_counted(start_gateway, fake):
    below = start_gateway(seed(fake, {"m/ok": "ok?tokens=5"}), options=("--root-path", "/gateway"), METRICS_TOKEN=TOKEN)
    scrape = Scrape(below)
    assert ask(below, "m/ok").status_code == 200
    assert "/gateway/admin/" in below.client.get("/admin/").headers["Location"]
    route = "/v1/chat/completions"
    assert scrape.change("gateway_http_requests_total", route=route, method="POST", status="200") == 1


def test_names_of_strangers_become_other(watched, scrape):
    for name in ("no/such-model", "m/ok\nforged", "x" * 150):
        assert ask(watched, name).status_code in (400, 404)
    watched.client.get("/v1/no/such/page")
    watched.client.request("TRACE", "/v1/models")
    assert scrape.change("gateway_errors_total", model="other", provider="none", domain="caller") == 5
    assert scrape.change("gateway_http_requests_total", route="unmatched", status="404") == 1
    assert scrape.change("gateway_http_requests_total", method="other") == 1
    text = watched.client.get("/metrics", headers=AUTH).text
    assert not re.search("such-model|forged|xxx|TRACE|/no/", text)


def test_what_is_refused_before_it_has_a_record_is_counted_once(watched, scrape):
    wrong = {"Authorization": "Bearer sk-or-v1-" + "0" * 64}
    body = {"model": "m/ok", "messages": [{"role": "user", "content": "hello"}]}
    # From an address of its own: other tests send wrong keys and tokens, too.
    with httpx.Client(base_url=watched.url, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as stranger:
        answers = [stranger.post("/v1/chat/completions", json=body, headers=wrong).status_code for _ in range(5)]
    assert answers == [401, 401, 401, 429, 429]
    assert ask(watched, "m/ok", user="x" * 200_000).status_code == 413
    assert ask(watched, "m/ok", temperature="hot").status_code == 400
    nobody = {"model": "other", "provider": "none"}
    assert scrape.change("gateway_errors_total", **nobody, domain="caller", error_type="authentication") == 3
    assert scrape.change("gateway_errors_total", **nobody, domain="policy", error_type="rate_limit_exceeded") == 2
    assert scrape.change("gateway_errors_total", **nobody, domain="caller", error_type="payload_too_large") == 1
    assert scrape.change("gateway_errors_total") == 7
    assert scrape.change("gateway_failures_total", domain="caller") == 5
    assert scrape.change("gateway_failures_total", domain="policy") == 2
    assert scrape.change("gateway_limit_rejections_total", limit="wrong_keys") == 2
    assert scrape.change("gateway_limit_rejections_total", limit="rate") == 0
    assert scrape.change("gateway_http_requests_total", route="/v1/chat/completions", status="413") == 1
    assert scrape.change("gateway_http_requests_total", route="unmatched") == 0
    assert scrape.change("gateway_requests_total") == 1, "the one with a record"


def test_an_alias_is_counted_as_its_model(watched, scrape):
    assert ask(watched, "M/OK", temperature=99).status_code == 422
    assert scrape.change("gateway_errors_total", model="m/ok", domain="caller", error_type="unprocessable") == 1


def test_clients_that_leave_are_no_errors(watched, scrape):
    leave(watched, "m/endless", 300, stream=True)
    leave(watched, "m/late", 0)
    until(lambda: scrape.change("gateway_client_disconnects_total") == 2, "both are counted")
    assert scrape.change("gateway_client_disconnects_total", model="m/endless", first_content="after") == 1
    assert scrape.change("gateway_client_disconnects_total", model="m/late", first_content="before") == 1
    assert scrape.change("gateway_upstream_attempts_total", outcome="abandoned") == 2
    assert scrape.change("gateway_requests_total", status="499") == 2
    assert scrape.change("gateway_errors_total") == 0
    until(lambda: scrape.value("gateway_requests_in_flight") == 0, "nothing is under way any more")


def test_what_is_under_way_is_seen_while_it_is(watched, scrape):
    body = {"model": "m/endless", "messages": [{"role": "user", "content": "go"}], "stream": True}
    with httpx.Client(base_url=watched.url) as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        assert scrape.value("gateway_requests_in_flight") == 1
        assert scrape.value("gateway_upstream_in_flight", model="m/endless") == 1
    until(lambda: scrape.value("gateway_upstream_in_flight", model="m/endless") == 0, "the call has ended")


def test_an_open_breaker_is_seen(tmp_path, watched, scrape):
    for _ in range(6):
        ask(watched, "m/broken")
    assert scrape.value("gateway_breaker_state", model="m/broken") == 2
    assert scrape.value("gateway_breaker_state", model="m/ok") == 0


def test_what_is_refused_while_a_breaker_is_open_is_the_providers_fault_too(watched, scrape):
    until(lambda: ask(watched, "m/broken").status_code == 503, "the breaker is open")
    refused = Scrape(watched)
    assert ask(watched, "m/broken").status_code == 503
    of = {"model": "m/broken", "provider": "none", "error_type": "provider_unavailable"}
    assert refused.change("gateway_errors_total", **of, domain="provider") == 1
    assert refused.change("gateway_failures_total", domain="provider") == 1
    assert scrape.change("gateway_errors_total", domain="gateway") == 0
    assert scrape.change("gateway_failures_total", domain="gateway") == 0
