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


@pytest.mark.parametrize(
    ("inputs", "outputs", "may_search", "nano"),
    [
        ((), (), False, 30 * 1000 + 5 * 2000),
        ({"text", "audio"}, {"text"}, False, 30 * 40_000 + 5 * 2000),
        ({"text", "image"}, {"text"}, False, 30 * 3000 + 5 * 2000),
        ({"text"}, {"text", "audio"}, False, 30 * 1000 + 5 * 80_000),
        ({"text"}, {"image"}, False, 30 * 1000 + 5 * 60_000),
        ({"text", "file"}, {"text"}, True, 30 * 1000 + 5 * 2000 + 10 * 10_000_000),
    ],
)
def test_media_and_searches_count_where_the_request_has_them(inputs, outputs, may_search, nano):
    prices = Prices.parse({
        "prompt": "0.000001", "completion": "0.000002", "audio": "0.00004", "audio_output": "0.00008",
        "image_token": "0.000003", "image_output": "0.00006", "web_search": "0.01",
    })  # fmt: skip
    extras = worst_case.extras(inputs, outputs, may_search=may_search)
    assert worst_case.rates(prices, 30, extras).cost(30, 5) == nano


@given(
    st.sampled_from(["prompt_audio", "prompt_image", "cache_write_1h"]),
    st.sampled_from(["completion_audio", "completion_image"]),
)
def test_no_answer_in_other_media_costs_more(input_class, output_class):
    listed = Prices.parse({key: f"0.0000{number:02}" for number, key in enumerate((
        "image_output", "audio", "completion", "prompt", "audio_output", "input_cache_write_1h", "image_token",
    ), start=1)})  # fmt: skip
    extras = worst_case.extras({"text", "audio", "image"}, {"text", "audio", "image"}, may_search=False)
    usage = Usage.of({input_class: 700, output_class: 300})
    assert nano_up(pricing.cost(usage, listed).total) <= worst_case.rates(listed, 700, extras).cost(700, 300)


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
