"""The alert rules and the dashboard: PromQL that parses, over metrics and labels that the gateway has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY

from completions import gauges, instruments  # noqa: F401  they register themselves
from tests.live import ROOT

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
QUERIES = [rule["expr"] for rule in RULES] + [target["expr"] for target in TARGETS]
MADE_BY_PROMETHEUS = {"up": {"job", "instance"}}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def known() -> dict[str, set[str]]:
    """Every series of ours and of Django's, and its labels."""
    series = dict(MADE_BY_PROMETHEUS)
    for collector, names in REGISTRY._collector_to_names.items():
        for name in names:
            if name.startswith(("gateway_", "django_")):
                series[name] = {*getattr(collector, "_labelnames", ()), "le"}
    return series


def plain(query: str) -> str:
    """The query as Prometheus gets it, with Grafana's variables filled in."""
    return query.replace("$__rate_interval", "1m").replace("$model", ".*").replace("$provider", ".*")


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector below a node of the syntax tree."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "args", "param"):
        below = getattr(node, name, None)
        for child in below if isinstance(below, list) else [below]:
            if child is not None:
                yield from selectors(child)


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_parses_and_asks_for_what_is_there(query):
    series = known()
    found = list(selectors(promql_parser.parse(plain(query))))
    assert found
    for selector in found:
        assert selector.name in series
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= series[selector.name], f"{selector.name} has no {asked - series[selector.name]}"


@pytest.mark.parametrize("query", QUERIES)
def test_every_grouping_is_by_labels_that_are_there(query):
    series = known()
    labels = set().union(*(series[name] for name in re.findall(r"\b(?:gateway|django)_\w+", query) if name in series))
    for grouping in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
        assert {label.strip() for label in grouping.split(",")} <= labels


def test_the_walk_finds_every_metric_that_a_query_names():
    """Or else the test above could pass because it looked at nothing."""
    for query in QUERIES:
        named = set(re.findall(r"\b(?:gateway|django)_\w+", query))
        assert named <= {selector.name for selector in selectors(promql_parser.parse(plain(query)))}


@pytest.fixture(scope="module")
def at_start() -> list[tuple[str, dict[str, str], float]]:
    """Every sample of a process that has seen nothing yet."""
    told = (
        "import json; from prometheus_client import REGISTRY; from completions import gauges, metrics; "
        "print(json.dumps([sample[:3] for family in REGISTRY.collect() for sample in family.samples]))"
    )
    run = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", told], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [tuple(sample) for sample in json.loads(run.stdout.splitlines()[-1])]


INCREASES = [rule for rule in RULES if "increase(" in rule["expr"]]


@pytest.mark.parametrize("rule", INCREASES, ids=lambda rule: rule["alert"])
def test_a_rule_that_wants_any_increase_asks_for_a_series_that_begins_at_zero(rule, at_start):
    """To Prometheus the first event of a series that is born with it is no increase."""
    (selector,) = selectors(promql_parser.parse(rule["expr"]))
    pinned = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
    assert [value for name, labels, value in at_start if name == selector.name and labels == pinned] == [0]


def test_no_rule_compares_a_rate_with_nothing():
    """Whoever wants to hear of any event at all asks for an increase, which the test above looks at."""
    assert not [rule["alert"] for rule in RULES if re.search(r"rate\([^()]*\)\)* > 0\s", rule["expr"] + " ")]
    assert len(INCREASES) == 3


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_says_how_bad_it_is_and_what_is_wrong(rule):
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"]
    assert re.fullmatch(r"Gateway[A-Za-z]+", rule["alert"])


def test_what_operators_must_hear_of_has_a_rule():
    watched = " ".join(rule["expr"] for rule in RULES)
    for metric in (
        "gateway_errors_total", "gateway_time_to_first_token_seconds_bucket", "gateway_breaker_state", 'limit="budget"',
        "gateway_journal_oldest_age_seconds", "gateway_provider_keys_out", "gateway_snapshot_check_age_seconds",
        "gateway_failures_total",
    ):  # fmt: skip
        assert metric in watched


def test_every_metric_of_ours_is_on_the_dashboard_or_in_a_rule():
    shown = " ".join(QUERIES)
    ours = {family.name for family in REGISTRY.collect() if family.name.startswith("gateway_")}
    unseen = {name for name in ours if name not in shown}
    assert unseen <= {
        "gateway_journal_backlog_bytes", "gateway_ledger_database_up", "gateway_ledger_last_commit_timestamp_seconds",
        "gateway_snapshot_revision", "gateway_models",
    }  # fmt: skip


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_scrape_sends_a_token_and_reads_the_rules():
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = scrape["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["authorization"]["type"] == "Bearer"
    assert "credentials_file" in job["authorization"]
    assert scrape["rule_files"] == ["alerts.yml"]
