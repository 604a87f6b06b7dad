"""`prices` of a route: what a file may say of what it costs when."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime

import pytest

from catalog.seed import models_file
from catalog.seed.document import Document


def parse(route: str):
    model = "models:\n  - id: falcon\n    name: Falcon\n    route:\n      - kind: deepseek\n"
    return models_file.parse(Document("models.yaml", model + textwrap.indent(textwrap.dedent(route), " " * 8)))


def test_each_price_holds_from_its_moment_and_the_route_says_nothing_of_now():
    seed = parse("""\
        prices:
          - {from: 2026-11-01, pricing: {prompt: 0.000001}, note: Announced.}
          - {from: 2027-01-01 12:30:00+01:00, pricing: null}
    """)
    assert seed.problems == []
    (adapter,) = seed.adapters
    assert [(price.effective_from, price.values) for price in adapter.prices] == [
        (datetime(2026, 11, 1, tzinfo=UTC), {"pricing": {"prompt": "0.000001"}, "note": "Announced."}),
        (datetime(2027, 1, 1, 11, 30, tzinfo=UTC), {"pricing": None, "note": ""}),
    ]
    assert "pricing" not in adapter.values


@pytest.mark.parametrize(
    ("prices", "line", "field", "message"),
    [
        ("prices: soon", 6, "prices", "must be a list"),
        ("prices: [{pricing: null}]", 6, "prices[0].from", "give the moment from which the price holds"),
        ("prices: [{from: 2027-01-01}]", 6, "prices[0].pricing", "or null for the model's published ones"),
        ("prices: [{from: soon, pricing: null}]", 6, "prices[0].from", "must be a date"),
        ("prices: [{from: 2027-01-01, pricing: {}}]", 6, "prices[0].pricing", "for a free model"),
        ("prices: [{from: 2027-01-01, pricing: {prompt: '3'}}]", 6, "prices[0].pricing.prompt", "divide by 1000000"),
        ("prices: [{from: 2027-01-01, pricing: null, until: 1}]", 6, "prices[0].until", "unknown field"),
        (
            "prices:\n  - {from: 2027-01-01, pricing: null}\n  - {from: 2027-01-01, pricing: null}",
            8,
            "prices[1].from",
            "on line 7 already",
        ),
        ("pricing: {prompt: '0'}\nprices: [{from: 2027-01-01, pricing: null}]", 6, "pricing", "make it one of prices"),
    ],
)
def test_every_fault_names_its_line_its_field_and_the_cure(prices, line, field, message):
    problems = parse(prices + "\n").problems
    assert [(problem.line, problem.field) for problem in problems] == [(line, f"models[0].route[0].{field}")]
    assert message in problems[0].message
