"""The most that a request may cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import pricing, worst_case
from accounting.budgets import nano_up
from accounting.usage import Usage
from catalog.prices import Prices


@pytest.mark.parametrize(
    ("pricing_given", "prompt", "answer", "nano"),
    [
        ({}, 1000, 1000, 0),
        ({"prompt": "0.000001", "completion": "0.000002"}, 3, 100, 203_000),
        ({"prompt": "0.000001", "completion": "0.000002", "request": "0.01"}, 0, 0, 10_000_000),
        ({"prompt": "0.000001", "input_cache_write": "0.00000125", "completion": "0"}, 100, 5, 125_000),
        ({"prompt": "0", "completion": "0.000001", "internal_reasoning": "0.000003"}, 7, 10, 30_000),
        ({"prompt": "0.000001", "overrides": [{"min_prompt_tokens": 10, "prompt": "0.000002"}]}, 11, 0, 22_000),
        ({"prompt": "0.0000000001", "completion": "0"}, 1, 0, 1),
    ],
)
def test_the_dearest_way_of_charging_counts(pricing_given, prompt, answer, nano):
    assert worst_case.rates(Prices.parse(pricing_given), prompt).cost(prompt, answer) == nano


prices = st.decimals(0, "0.01", places=12)
tokens = st.integers(0, 10_000_000)


@given(prices, prices, prices, tokens, tokens)
def test_no_answer_of_that_length_costs_more(prompt_price, write_price, completion_price, prompt, answer):
    known = {"prompt": prompt_price, "input_cache_write": write_price, "completion": completion_price}
    listed = Prices.parse({key: str(price) for key, price in known.items()})
    most = worst_case.rates(listed, prompt).cost(prompt, answer)

    for usage in (Usage(prompt_uncached=prompt, completion_text=answer), Usage(cache_write=prompt, reasoning=answer)):
        # Floating point may be a nano-dollar off in some ten thousand dollars.
        assert nano_up(pricing.cost(usage, listed).total) <= most + most // 10**13 + 1
