"""No metric of ours is left out: each that the source defines is exposed by a server, and asserted by a test that drives it.

Told from the source, so that a metric added tomorrow without a test fails here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.catalogue import seed
from tests.journeys.scraping import AUTH, TOKEN
from tests.live import ROOT

PACKAGES = ("gateway_project", "completions", "routingapp", "accounting", "catalog")
TESTS = ("test_metrics.py", "test_metrics_of_state.py")
KINDS = ("Counter", "Gauge", "Histogram", "Summary")
READS = ("value", "change")
SUFFIX = re.compile(r"_(total|count|sum|bucket)$")


def defined() -> set[str]:
    """The families that the source makes, as in `Counter("gateway_…", …)`, without the suffixes of samples."""
    trees = [ast.parse(file.read_text()) for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and name_of(node) in KINDS]
    return {SUFFIX.sub("", name) for call in calls if (name := first_string(call)) and name.startswith("gateway_")}


def asserted(file: Path) -> set[str]:
    """The families whose value a test compares: inside an `assert`, or in the condition of an `until`."""
    return {
        SUFFIX.sub("", name)
        for claim in claims(ast.parse(file.read_text()))
        for node in ast.walk(claim)
        if isinstance(node, ast.Call) and name_of(node) in READS and (name := first_string(node))
    }


def claims(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node.test
        elif isinstance(node, ast.Call) and name_of(node) == "until":
            yield node.args[0]


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def first_string(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def test_every_metric_is_asserted_by_a_test():
    found = set().union(*(asserted(Path(__file__).with_name(name)) for name in TESTS))
    assert len(defined()) >= 30
    assert defined() - found == set(), "metrics that no test of theirs compares with anything"
    assert found - defined() <= {"django_http_requests_total_by_method", "django_db_execute"}


def test_every_metric_is_exposed(start_gateway, fake):
    """What silently became a no-op would be missing here."""
    gateway = start_gateway(seed(fake, {"m/ok": "ok"}), METRICS_TOKEN=TOKEN)
    families = text_string_to_metric_families(gateway.client.get("/metrics", headers=AUTH).text)
    assert defined() <= {family.name for family in families}
