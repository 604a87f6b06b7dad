"""`manage.py explainroute` and `routingstats`: what a person reads at a terminal."""

from __future__ import annotations

import io
import itertools
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounting import store
from accounting.lines import encode
from accounting.record import Attempt, Record
from accounting.rows import read
from completions import snapshot
from tests import factories

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def adapters() -> list[Any]:
    """Acme at weight 3, Bolt at weight 1, and Corp, whose variable is not set."""
    model = factories.language_model("acme/falcon", aliases=("falcon",))
    corp = factories.provider("corp", api_key="${CORP_KEY_THAT_NOBODY_SETS}")
    weights = ((factories.provider("acme"), 3), (factories.provider("bolt"), 1), (corp, 1))
    return [factories.adapter(model, provider, weight=weight) for provider, weight in weights]


numbers = itertools.count(1)


def attempt(adapter: Any, **fields: Any) -> Attempt:
    return Attempt(adapter.pk, adapter.provider.slug, adapter.upstream_model, **fields)


def answered(adapter: Any, *failed: tuple[Any, str], at: datetime | None = None) -> None:
    """A request that `adapter` answered after others failed, in the logs and in the hourly sums."""
    record = a_record(adapter, *failed, at=at or timezone.now())
    store.add([read(encode(record))], connection.alias)


def a_record(adapter: Any, *failed: tuple[Any, str], at: datetime) -> Record:
    attempts = [attempt(one, error_type=kind, error="no") for one, kind in failed]
    return Record(
        request_id=f"gen-{next(numbers)}",
        timestamp=at.timestamp(),
        attempts=[*attempts, attempt(adapter, status=200)],
        model_id=adapter.model.public_id,
        provider=adapter.provider.slug,
        adapter_id=adapter.pk,
        status_code=200,
        latency_ms=500,
        ttft_ms=100,
        stream=True,
        total_tokens=15,
        cost_usd="0.25",
    )


@pytest.fixture(autouse=True)
def forget_the_snapshot(monkeypatch):
    """Commands load one into this process, where later tests would find it."""
    monkeypatch.setattr(snapshot, "_current", None)


def test_the_plan_is_explained_adapter_by_adapter(adapters):
    lines = run("explainroute", "falcon").splitlines()
    assert lines[0] == "falcon: ordered by weighted; at most 3 attempts within 600 s"
    ranked = {line.split()[3]: line.split()[4] for line in lines[1:3]}
    assert ranked == {"acme": "75.0%", "bolt": "25.0%"}
    assert "acme/falcon at corp" in lines[3]
    assert "unconfigured: environment variable CORP_KEY_THAT_NOBODY_SETS is not set" in lines[3]
    assert "Without live health" in lines[4]


def test_a_body_decides_as_a_callers_would(adapters, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"messages": [{"role": "user", "content": "Hi"}], "provider": {"only": ["bolt"]}}))
    text = run("explainroute", "acme/falcon", "--body", str(body))
    assert "  1. acme/falcon at bolt" in text
    assert "provider_only: not named in provider.only" in text
    body.write_text(json.dumps({"provider": {"only": ["nobody"]}}))
    assert "404: No endpoints found" in run("explainroute", "acme/falcon", "--body", str(body))


@pytest.mark.parametrize("content", ["[]", "{", '{"messages": 5}'])
def test_a_body_that_is_no_request_is_refused_in_words(adapters, tmp_path, content):
    body = tmp_path / "body.json"
    body.write_text(content)
    with pytest.raises(CommandError, match=r"JSON|must be an array"):
        run("explainroute", "acme/falcon", "--body", str(body))


def test_an_unknown_model_is_an_error_that_names_it():
    for command in (("explainroute", "acme/nothing"), ("routingstats", "--model", "acme/nothing")):
        with pytest.raises(CommandError, match="acme/nothing"):
            run(*command)


def test_configured_and_actual_split_stand_side_by_side(adapters):
    acme, bolt, _ = adapters
    answered(acme)
    answered(bolt, (acme, "provider_unavailable"))
    answered(bolt, (acme, "timeout"))
    answered(bolt)
    report = json.loads(run("routingstats", "--json", "--hours", "2", "--model", "falcon"))
    of = {row["provider"]: row for row in report["adapters"]}
    assert [(of[name]["configured_share"], of[name]["actual_share"]) for name in ("acme", "bolt")] == [
        (0.75, 0.25),
        (0.25, 0.75),
    ]
    assert (of["bolt"]["requests"], of["bolt"]["fallbacks"]) == (3, 2)
    assert of["bolt"]["attempts"] == made(3, answered=3, success_rate=1.0, fallbacks=2)
    failed = {"provider_unavailable": 1, "timeout": 1}
    assert of["acme"]["attempts"] == made(3, answered=1, failed=failed, success_rate=0.333333)
    assert of["bolt"]["success_rate"] == 1
    assert of["bolt"]["ttft_ms"]["p95"] == pytest.approx(100, rel=0.02)
    assert (of["bolt"]["cost_usd"], of["bolt"]["tokens"]["total"]) == (0.75, 45)
    assert of["corp"]["left_out"] == "unconfigured"
    (model,) = report["models"]
    assert (model["model"], model["requests"], model["fallbacks"], model["cost_usd"]) == ("acme/falcon", 4, 2, 1.0)
    assert model["attempts"] == made(6, answered=4, failed=failed, success_rate=0.666667, fallbacks=2)

    lines = run("routingstats").splitlines()
    assert lines[0].split()[:4] == ["model", "provider", "weight", "set"]
    assert lines[1].split()[:6] == ["acme/falcon", "acme", "3", "75.0%", "25.0%", "1"]
    assert lines[4].split()[:7] == ["acme/falcon", "all", "4", "100.0%", "2", "6", "66.7%"]
    assert "Attempts are counted since" in lines[-1]


def made(attempts: int, **fields: Any) -> dict[str, Any]:
    nothing = {"answered": 0, "failed": {}, "given_up": 0, "success_rate": None, "retries": 0, "fallbacks": 0}
    return {"made": attempts, **nothing, **fields}


def test_attempts_of_the_whole_window_count_and_of_no_other_hour(adapters):
    acme, bolt, _ = adapters
    now = timezone.now()
    for hours_ago, times in ((0, 1500), (1, 1500), (2, 7)):
        records = [a_record(bolt, (acme, "timeout"), at=now - timedelta(hours=hours_ago)) for _ in range(times)]
        store.add([read(encode(record)) for record in records], connection.alias)
    report = json.loads(run("routingstats", "--json", "--hours", "2"))
    of = {row["provider"]: row["attempts"] for row in report["adapters"]}
    assert of["acme"] == made(3000, failed={"timeout": 3000}, success_rate=0.0)
    assert of["bolt"] == made(3000, answered=3000, success_rate=1.0, fallbacks=3000)
    assert report["attempts_since"] == report["since"]


def test_a_refused_key_is_told_on_the_first_page_of_admin_without_its_value(adapters, monkeypatch):
    _, bolt, corp = adapters
    monkeypatch.setenv("CORP_KEY_THAT_NOBODY_SETS", "sk-corp-0123456789")
    browser = factories.browser()
    assert b"refuses our key" not in browser.get("/admin/").content
    answered(bolt, (corp, "authentication"))
    answered(bolt, (corp, "authentication"))
    page = browser.get("/admin/").content.decode()
    assert "refuses our key: 2 times of late" in page
    assert "<code>CORP_KEY_THAT_NOBODY_SETS</code>" in page
    assert "sk-corp" not in page


def test_a_refusal_of_yesterday_is_no_news(adapters):
    _, bolt, corp = adapters
    answered(bolt, (corp, "authentication"), at=timezone.now() - timedelta(days=1))
    assert b"refuses our key" not in factories.browser().get("/admin/").content
