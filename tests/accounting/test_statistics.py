"""Statistics against the rows they are of: random requests through the real ledger, then every figure counted anew."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import floor
from typing import Any

import pytest

from accounting import activity, spending, statistics, store
from accounting.ledger import Ledger
from accounting.lines import encode
from accounting.models import ApiKey, RequestLog, UsageTotal
from accounting.record import Attempt, Record
from accounting.rollups import COUNTS, Sums
from accounting.rows import read
from accounting.savings import Market
from accounting.statistics import ANONYMOUS_KEY, Figures, GroupBy, Scope
from catalog.entries import Prices
from gateway_project.errors import REFUSAL_DOMAINS
from tests import factories
from tests.accounting.conftest import Database

NOW = datetime(2026, 11, 20, 12, 34, 56, tzinfo=UTC)
OUTCOMES = (
    {"status_code": 200},
    {"status_code": 200},
    {"status_code": 200},
    {"status_code": 502, "error_type": "provider_unavailable", "error_domain": "provider"},
    {"status_code": 429, "error_type": "rate_limit_exceeded", "error_domain": "policy"},
    {"status_code": 200, "error_type": "timeout"},
    {"status_code": 499, "is_cancelled": True},
)
HOSTED = Prices.parse({"prompt": "0.000001", "completion": "0.000002"})


def random_record(dice: random.Random, adapters: list, keys: list[ApiKey | None], number: int) -> Record:
    adapter, key = dice.choice([*adapters, None]), dice.choice(keys)
    prompt, completion = dice.randrange(2000), dice.randrange(500)
    reasoning, cached = dice.randrange(completion + 1), dice.randrange(prompt + 1)
    return Record(
        request_id=f"gen-{number:024}",
        # From a day and two hours before the present hour's end: some are outside of any scope of a day.
        timestamp=(NOW - timedelta(seconds=dice.uniform(0, 26 * 3600))).timestamp(),
        model_id=adapter.model.public_id if adapter else dice.choice(["acme/falcon", "no/such"]),
        provider=adapter.provider.slug if adapter else "",
        adapter_id=adapter.pk if adapter else None,
        api_key_id=key.pk if key else None,
        stream=dice.random() < 0.5,
        is_estimated=dice.random() < 0.1,
        latency_ms=int(dice.lognormvariate(7, 1)),
        ttft_ms=int(dice.lognormvariate(5, 1)) if dice.random() < 0.5 else None,
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        reasoning_tokens=reasoning,
        cache_read_tokens=cached,
        cost_usd=format(Decimal(dice.randrange(10**9)) / 10**12, "f"),
        attempts=[Attempt(adapter.pk if adapter else 0, "acme", "falcon")] * dice.randrange(3),
        **dice.choice(OUTCOMES),
    )


def quantile(values: Iterable[int], q: float) -> float | None:
    """The value at rank floor(q * (n - 1))."""
    ordered = sorted(values)
    return ordered[floor(q * (len(ordered) - 1))] if ordered else None


def counted(logs: list[RequestLog]) -> Figures:
    """The figures of these rows, one by one."""
    sums = Sums()
    for log in logs:
        outcome = "cancelled" if log.is_cancelled else "errors" if log.status_code >= 400 or log.error_type else "successes"
        setattr(sums, outcome, getattr(sums, outcome) + 1)
        sums.requests += 1
        sums.streams += log.stream
        sums.fallbacks += len(log.attempts) > 1
        sums.estimated += log.is_estimated
        for name in COUNTS:
            if name.endswith("_tokens"):
                setattr(sums, name, getattr(sums, name) + getattr(log, name))
        sums.cost_usd += log.cost_usd
        sums.latency_ms += log.latency_ms if log.completion_tokens else 0
        if outcome == "errors":
            sums.refusals += log.error_domain in REFUSAL_DOMAINS
            sums.error_types[log.error_type or "unmapped"] += 1
    return Figures(sums)


def agrees(found: Figures, logs: list[RequestLog]) -> None:
    """Every sum is exact, every percentile within 2 %."""
    expected = counted(logs)
    for name in (*COUNTS, "error_types"):
        assert getattr(found.sums, name) == getattr(expected.sums, name), name
    assert found.sums.cost_usd == pytest.approx(expected.sums.cost_usd, abs=Decimal("1e-9"))
    successes = [log for log in logs if log.status_code < 400 and not log.error_type and not log.is_cancelled]
    for name, q in statistics.QUANTILES.items():
        latency = quantile([log.latency_ms for log in successes], q)
        ttft = quantile([log.ttft_ms for log in successes if log.ttft_ms is not None], q)
        assert found.latency_ms[name] == (None if latency is None else pytest.approx(latency, rel=0.0201, abs=0.5))
        assert found.ttft_ms[name] == (None if ttft is None else pytest.approx(ttft, rel=0.0201, abs=0.5))


@pytest.mark.django_db(transaction=True)
def test_every_figure_is_that_of_the_rows(tmp_path, django_assert_max_num_queries):
    dice = random.Random(20261120)
    adapters = [
        factories.adapter(factories.language_model(model), factories.provider(slug))
        for model, slug in (("acme/falcon", "acme"), ("acme/heron", "zeta"))
    ]
    adapters.append(factories.adapter(adapters[0].model, adapters[1].provider))
    ada, bob = factories.api_key("ada"), factories.api_key("bob")
    keys = [None, ada, bob]
    known = {"acme/falcon", "acme/heron"}
    ledger = Ledger(tmp_path / "journal")
    ledger.start()
    try:
        for number in range(400):
            ledger.settle(random_record(dice, adapters, keys, number))
        assert ledger.flush(10)
    finally:
        ledger.stop(5)

    scope = Scope.last(24, NOW)
    assert (scope.start, scope.end) == (datetime(2026, 11, 19, 13, tzinfo=UTC), datetime(2026, 11, 20, 13, tzinfo=UTC))
    within = list(RequestLog.objects.filter(timestamp__gte=scope.start, timestamp__lt=scope.end))
    assert 300 < len(within) < 400
    columns: dict[GroupBy, Callable[[RequestLog], object]] = {
        GroupBy.MODEL: lambda log: log.model_id if log.model_id in known else None,
        GroupBy.PROVIDER: lambda log: log.provider or None,
        GroupBy.ADAPTER: lambda log: log.adapter_id,
        GroupBy.KEY: lambda log: log.api_key.hash if log.api_key else None,
        GroupBy.HOUR: lambda log: log.timestamp.replace(minute=0, second=0, microsecond=0),
    }
    for group_by, column in columns.items():
        with django_assert_max_num_queries(6):
            found = statistics.summary(scope, group_by)
        agrees(found.total, within)
        apart = defaultdict(list)
        for log in within:
            apart[column(log)].append(log)
        assert Counter(group.labels[group_by] for group in found.groups) == Counter(apart.keys())
        for group in found.groups:
            agrees(group.figures, apart[group.labels[group_by]])
    agrees(statistics.summary(scope).total, within)

    for log_of, only in (
        (lambda log: log.model_id == "acme/heron", {"model": "acme/heron"}),
        (lambda log: log.provider == "zeta", {"provider": "zeta"}),
        (lambda log: log.api_key_id == ada.pk, {"key": ada.hash}),
        (lambda log: log.api_key_id is None, {"key": ANONYMOUS_KEY}),
        (lambda log: False, {"model": "no/such"}),
    ):
        agrees(statistics.summary(Scope.last(24, NOW, **only)).total, [log for log in within if log_of(log)])


def stored(*records: Record, using: str = "default") -> None:
    store.add([read(encode(record)) for record in records], using)


def record(adapter, at: datetime, **fields) -> Record:
    """A success of 1000 + 100 tokens."""
    served = {
        "request_id": f"gen-{at.timestamp():.0f}",
        "model_id": adapter.model.public_id,
        "provider": adapter.provider.slug,
        "adapter_id": adapter.pk,
        "status_code": 200,
        "latency_ms": 2000,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
    }
    return Record(timestamp=at.timestamp(), **served | fields)


@pytest.mark.django_db
def test_a_series_has_every_hour(django_assert_max_num_queries):
    adapter = factories.adapter()
    stored(record(adapter, NOW), record(adapter, NOW - timedelta(hours=2)))
    with django_assert_max_num_queries(5):
        series = statistics.series(Scope.last(4, NOW))
    assert [(hour.hour, figures.sums.requests) for hour, figures in series] == [(9, 0), (10, 1), (11, 0), (12, 1)]
    assert series[0][1].latency_ms == {"p50": None, "p95": None, "p99": None}
    assert series[0][1].success_rate is None
    assert series[1][1].tokens_per_second == 50


class FromPostgres:
    """Sends every query to the test's PostgreSQL."""

    def db_for_read(self, model, **_) -> str:
        return "postgres"


def test_postgresql_answers_the_same_questions(postgres_database: Database, settings):
    adapter, key = postgres_database.adapter, postgres_database.key
    failed = {"request_id": "gen-failed", "status_code": 502, "error_type": "server", "cost_usd": "0.000000000001"}
    yesterday = NOW - timedelta(days=1)
    stored(
        record(adapter, NOW, api_key_id=key.pk, ttft_ms=100),
        record(adapter, NOW, **failed),
        record(adapter, yesterday, api_key_id=key.pk, cost_usd="0.2"),
        using="postgres",
    )
    settings.DATABASE_ROUTERS = [f"{__name__}.FromPostgres"]
    for group_by in (None, *GroupBy):
        found = statistics.summary(Scope.last(24, NOW), group_by)
        assert (found.total.sums.requests, found.total.sums.successes, found.total.sums.errors) == (2, 1, 1)
        assert found.total.sums.error_types == {"server": 1}
        assert found.total.ttft_ms["p50"] == pytest.approx(100, rel=0.02)
        assert len(found.groups) == (0 if group_by is None else 2 if group_by is GroupBy.KEY else 1)
    spent = spending.of_keys([key.pk], NOW)[key.pk]
    assert (spent.daily, spent.weekly, spent.total) == (Decimal(0), Decimal("0.2"), Decimal("0.2"))
    assert spending.total() == Decimal("0.200000000001")
    assert [(row["date"], row["usage"]) for row in activity.rows(*activity.days(NOW))] == [("2026-11-19", 0.2)]


@pytest.mark.django_db
def test_names_of_what_is_gone_are_null():
    adapter = factories.adapter(factories.language_model("acme/gone"))
    stored(record(adapter, NOW))
    pk = adapter.pk
    UsageTotal.objects.all().delete()
    adapter.delete()
    (group,) = statistics.summary(Scope.last(1, NOW), GroupBy.ADAPTER).groups
    assert group.labels == {"adapter": pk, "model": None, "provider": None}
    assert group.figures.sums.requests == 1


def local_tokens(successes: int = 10, completion_tokens: int = 100_000, **fields: Any) -> Sums:
    return Sums(requests=10, successes=successes, prompt_tokens=1_000_000, completion_tokens=completion_tokens, **fields)


class TestSavings:
    def test_they_are_against_the_cheapest_offer_for_these_very_tokens(self):
        cheap_answers = Prices.parse({"prompt": "0.000003", "completion": "0.000001"})
        market = Market(frozenset({1}), {"acme/falcon": [HOSTED, cheap_answers]})
        assert market.saved("acme/falcon", 1, local_tokens()) == Decimal("1.2")
        assert market.saved("acme/falcon", 1, local_tokens(completion_tokens=3_000_000)) == Decimal(6)

    def test_the_local_engines_own_price_is_taken_off(self):
        market = Market(frozenset({1}), {"acme/falcon": [HOSTED]})
        sums = local_tokens()
        sums.cost_usd = Decimal("0.5")
        assert market.saved("acme/falcon", 1, sums) == Decimal("0.7")

    def test_classes_have_their_own_prices_and_requests_theirs(self):
        prices = Prices.parse(
            {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001", "request": "0.01"}
        )
        market = Market(frozenset({1}), {"acme/falcon": [prices]})
        sums = local_tokens(cache_read_tokens=900_000, reasoning_tokens=50_000, successes=9)
        assert market.saved("acme/falcon", 1, sums) == Decimal("0.1") + Decimal("0.09") + Decimal("0.2") + Decimal("0.09")

    def test_hosted_adapters_and_models_without_an_offer_save_nothing(self):
        market = Market(frozenset({1}), {"acme/falcon": []})
        assert market.saved("acme/falcon", 1, local_tokens()) == 0
        assert market.saved("acme/falcon", 2, local_tokens()) == 0
        assert market.saved("acme/heron", None, local_tokens()) == 0

    @pytest.mark.django_db
    def test_the_catalogue_knows_who_is_local_and_what_others_ask(self):
        model = factories.language_model("acme/falcon", pricing={"prompt": "0.000001", "completion": "0.000002"})
        local = factories.adapter(model, factories.provider("engine", is_local=True))
        factories.adapter(model, factories.provider("hosted"))
        factories.adapter(model, factories.provider("off", is_enabled=False))
        stored(record(local, NOW, cost_usd="0.0002"))
        found = statistics.summary(Scope.last(1, NOW), GroupBy.MODEL)
        assert found.total.savings_usd == found.groups[0].figures.savings_usd == Decimal("0.001")
