"""The caller's routing preferences: OpenRouter's `provider` object (openrouter.md 1.3), parsed once per request.

Pure. Owns what the fields mean and their units; which adapters they leave is `routingapp.filters`, in which order
`routingapp.plan`. Fields that OpenRouter may add later are ignored, as its own documentation asks of clients.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from catalog import amounts
from gateway_project.errors import InvalidRequest

QUANTIZATIONS = frozenset(
    {"int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"}
)
_NARROWER = {"fp4": ("mxfp4", "nvfp4"), "fp8": ("mxfp8",)}
"""Quantizations that a coarser name stands for as well."""

_TOKENS_PER_UNIT = {"prompt": 1_000_000, "completion": 1_000_000, "request": 1, "image": 1, "audio": 1}
"""`max_price` is USD per million tokens for text, and per request, image and audio unit for the rest."""

MAX_NAMES = 1000
"""In one list: more than there are providers, and few enough to be looked through for each adapter."""

_PERCENTILES = ("p50", "p75", "p90", "p99")


class SortBy(enum.StrEnum):
    PRICE = "price"
    THROUGHPUT = "throughput"
    LATENCY = "latency"
    EXACTO = "exacto"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a caller asks of the adapters. The defaults ask for nothing.

    `max_price`: USD per token (per request, image, audio unit). `preferred_min_throughput`: tokens per second,
    `preferred_max_latency`: seconds until the first token, each by percentile name ("p50" … "p99").
    """

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    require_parameters: bool = False
    denies_data_collection: bool = False
    wants_zero_data_retention: bool = False
    quantizations: frozenset[str] = frozenset()
    sort: SortBy | None = None
    sorts_across_models: bool = False
    max_price: tuple[tuple[str, Decimal], ...] = ()
    preferred_min_throughput: tuple[tuple[str, float], ...] = ()
    preferred_max_latency: tuple[tuple[str, float], ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))


NO_PREFERENCES = Preferences()


def parse(provider: Any) -> Preferences:
    """The preferences in the value of a request's `provider` (None: none at all).

    Raises `InvalidRequest` that names the path, the value and what is allowed there.
    """
    if provider is None or provider == {}:
        return NO_PREFERENCES
    if not isinstance(provider, Mapping):
        raise InvalidRequest(f"provider: {_shown(provider)} is not an object; send routing preferences or leave it out")
    if _flag(provider, "enforce_distillable_text", False):
        raise InvalidRequest(
            "provider.enforce_distillable_text: which models' output may be distilled is not recorded here; leave it "
            "out, and name models you may distil in `model`"
        )
    sort, across = _sort(provider.get("sort"))
    return Preferences(
        order=_names(provider, "order"),
        only=_names(provider, "only"),
        ignore=_names(provider, "ignore"),
        allow_fallbacks=_flag(provider, "allow_fallbacks", True),
        require_parameters=_flag(provider, "require_parameters", False),
        denies_data_collection=_one_of(provider, "data_collection", ("allow", "deny")) == "deny",
        wants_zero_data_retention=_flag(provider, "zdr", False),
        quantizations=_quantizations(provider),
        sort=sort,
        sorts_across_models=across,
        max_price=_max_price(provider.get("max_price")),
        preferred_min_throughput=_percentiles(provider, "preferred_min_throughput"),
        preferred_max_latency=_percentiles(provider, "preferred_max_latency"),
        options=_options(provider.get("options")),
    )


def _shown(value: object) -> str:
    return repr(value)[:80]


def _flag(provider: Mapping[str, Any], name: str, default: bool) -> bool:
    value = provider.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidRequest(f"provider.{name}: {_shown(value)} is not true or false")
    return value


def _one_of(provider: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str | None:
    value = provider.get(name)
    if value is not None and value not in allowed:
        raise InvalidRequest(f"provider.{name}: {_shown(value)} is not one of {', '.join(allowed)}")
    return value


def _names(provider: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Provider slugs, tags or display names, folded so that they compare without regard to case."""
    values = provider.get(name)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise InvalidRequest(f'provider.{name}: {_shown(values)} is not a list of provider slugs, e.g. ["deepseek"]')
    if len(values) > MAX_NAMES:
        raise InvalidRequest(f"provider.{name}: must have at most {MAX_NAMES} names, not {len(values)}")
    for index, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            raise InvalidRequest(f"provider.{name}[{index}]: {_shown(value)} is not a provider's slug, tag or name")
    return tuple(value.strip().casefold() for value in values)


def _quantizations(provider: Mapping[str, Any]) -> frozenset[str]:
    wanted: set[str] = set()
    for index, name in enumerate(_names(provider, "quantizations")):
        if name not in QUANTIZATIONS:
            allowed = ", ".join(sorted(QUANTIZATIONS))
            raise InvalidRequest(f"provider.quantizations[{index}]: {_shown(name)} is not one of {allowed}")
        wanted.update((name, *_NARROWER.get(name, ())))
    return frozenset(wanted)


def _sort(value: Any) -> tuple[SortBy | None, bool]:
    """The key, and whether it compares the endpoints of all asked models together."""
    if value is None:
        return None, False
    if not isinstance(value, Mapping):
        return _sort_key(value, "provider.sort"), False
    partition = value.get("partition")
    if partition not in (None, "model", "none"):
        raise InvalidRequest(f"provider.sort.partition: {_shown(partition)} is not one of model, none")
    if value.get("by") is None:
        raise InvalidRequest(f"provider.sort.by: missing; send one of {', '.join(SortBy)}")
    return _sort_key(value["by"], "provider.sort.by"), partition == "none"


def _sort_key(value: Any, path: str) -> SortBy:
    if value not in tuple(SortBy):
        raise InvalidRequest(f"{path}: {_shown(value)} is not one of {', '.join(SortBy)}")
    return SortBy(value)


def _number(value: Any, path: str) -> Decimal:
    """A finite number >= 0, given as a JSON number or as a decimal string (the OpenRouter SDKs send strings)."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        number = amounts.read(str(value))
        if number is not None and number >= 0:
            return number
    raise InvalidRequest(
        f'{path}: {_shown(value)} is not a number from 0 to 1e12 with at most 30 decimals, e.g. 1.5 or "1.5"'
    )


def _max_price(value: Any) -> tuple[tuple[str, Decimal], ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InvalidRequest(
            f'provider.max_price: {_shown(value)} is not an object, e.g. {{"prompt": "1", "completion": "2"}} '
            "(USD per million tokens)"
        )
    return tuple(
        (key, _number(value[key], f"provider.max_price.{key}") / unit)
        for key, unit in _TOKENS_PER_UNIT.items()
        if value.get(key) is not None
    )


def _percentiles(provider: Mapping[str, Any], name: str) -> tuple[tuple[str, float], ...]:
    """A plain number speaks of the median."""
    value = provider.get(name)
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        return (("p50", float(_number(value, f"provider.{name}"))),)
    return tuple(
        (key, float(_number(value[key], f"provider.{name}.{key}"))) for key in _PERCENTILES if value.get(key) is not None
    )


def _options(value: Any) -> Mapping[str, Mapping[str, Any]]:
    if value is None:
        return NO_PREFERENCES.options
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"provider.options: {_shown(value)} is not an object of provider slugs")
    for slug, options in value.items():
        if not isinstance(options, Mapping):
            raise InvalidRequest(f"provider.options.{slug}: {_shown(options)} is not an object")
    return value
