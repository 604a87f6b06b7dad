"""OpenRouter's `provider` object, as the SDKs send it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway_project.errors import InvalidRequest
from routingapp.preferences import NO_PREFERENCES, Preferences, SortBy, parse


@pytest.mark.parametrize("nothing", [None, {}, {"order": None, "sort": None, "zdr": None, "unheard_of": 1}])
def test_nothing_asked_is_the_defaults(nothing: Any):
    assert parse(nothing) == NO_PREFERENCES == Preferences()


def test_every_field_is_understood():
    parsed = parse(
        {
            "order": ["Acme", "zeta/FP8"],
            "only": ["acme"],
            "ignore": ["Google AI Studio"],
            "allow_fallbacks": False,
            "require_parameters": True,
            "data_collection": "deny",
            "zdr": True,
            "enforce_distillable_text": False,
            "quantizations": ["fp4"],
            "sort": "throughput",
            "preferred_min_throughput": {"p50": 30, "p99": 10.5},
            "preferred_max_latency": 2,
            "max_price": {"prompt": "1.5", "completion": 3, "request": "0.01"},
            "options": {"acme": {"region": "eu"}},
        }
    )

    assert parsed == Preferences(
        order=("acme", "zeta/fp8"),
        only=("acme",),
        ignore=("google ai studio",),
        allow_fallbacks=False,
        require_parameters=True,
        denies_data_collection=True,
        wants_zero_data_retention=True,
        quantizations=frozenset({"fp4", "mxfp4", "nvfp4"}),
        sort=SortBy.THROUGHPUT,
        preferred_min_throughput=(("p50", 30.0), ("p99", 10.5)),
        preferred_max_latency=(("p50", 2.0),),
        max_price=(("prompt", Decimal("0.0000015")), ("completion", Decimal("0.000003")), ("request", Decimal("0.01"))),
        options={"acme": {"region": "eu"}},
    )


@pytest.mark.parametrize(
    ("partition", "across"), [({}, False), ({"partition": "model"}, False), ({"partition": "none"}, True)]
)
def test_sort_may_be_an_object(partition: dict[str, str], across: bool):
    parsed = parse({"sort": {"by": "price", **partition}})

    assert (parsed.sort, parsed.sorts_across_models) == (SortBy.PRICE, across)


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("acme", "provider: 'acme' is not an object"),
        ({"order": "acme"}, "provider.order: 'acme' is not a list"),
        ({"only": ["acme", 3]}, "provider.only[1]: 3 is not a provider's slug"),
        ({"ignore": [" "]}, "provider.ignore[0]: ' ' is not a provider's slug"),
        ({"allow_fallbacks": "no"}, "provider.allow_fallbacks: 'no' is not true or false"),
        ({"data_collection": "maybe"}, "provider.data_collection: 'maybe' is not one of allow, deny"),
        ({"data_collection": []}, "provider.data_collection: [] is not one of allow, deny"),
        ({"quantizations": ["fp8", "fp9"]}, "provider.quantizations[1]: 'fp9' is not one of"),
        ({"sort": "speed"}, "provider.sort: 'speed' is not one of price, throughput, latency, exacto"),
        ({"sort": {"partition": "none"}}, "provider.sort.by: missing"),
        ({"sort": {"by": ["price"]}}, "provider.sort.by: ['price'] is not one of"),
        ({"sort": {"by": "price", "partition": "all"}}, "provider.sort.partition: 'all' is not one of model, none"),
        ({"max_price": 3}, "provider.max_price: 3 is not an object"),
        ({"max_price": {"prompt": "cheap"}}, "provider.max_price.prompt: 'cheap' is not a number"),
        (
            {"max_price": {"prompt": "1e9999999"}},
            "provider.max_price.prompt: '1e9999999' is not a number from 0 to 1e12 with at most 30 decimals",
        ),
        ({"max_price": {"prompt": "1e-9999999"}}, "provider.max_price.prompt: '1e-9999999' is not a number"),
        ({"max_price": {"prompt": "9" * 1000}}, "provider.max_price.prompt: '9999"),
        ({"max_price": {"prompt": 1e300}}, "provider.max_price.prompt: 1e+300 is not a number"),
        ({"preferred_max_latency": "1e400"}, "provider.preferred_max_latency: '1e400' is not a number"),
        ({"max_price": {"prompt": -1}}, "provider.max_price.prompt: -1 is not a number from 0"),
        ({"max_price": {"prompt": "NaN"}}, "provider.max_price.prompt: 'NaN' is not a number"),
        ({"max_price": {"prompt": True}}, "provider.max_price.prompt: True is not a number"),
        ({"preferred_max_latency": {"p90": "soon"}}, "provider.preferred_max_latency.p90: 'soon' is not a number"),
        ({"options": {"acme": 1}}, "provider.options.acme: 1 is not an object"),
        ({"enforce_distillable_text": True}, "provider.enforce_distillable_text: which models' output may be distilled"),
    ],
)
def test_what_cannot_be_meant_is_refused_naming_the_path(provider: Any, message: str):
    with pytest.raises(InvalidRequest) as caught:
        parse(provider)

    assert message in caught.value.message
