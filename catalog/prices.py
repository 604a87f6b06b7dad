"""What tokens cost: price lists with their conditions, and how one list follows another in time. Pure.

Owns the form in which prices are written (OpenRouter's `pricing`, openrouter.md 5.1) and which of them hold for a request.
What a usage then costs is up to `accounting.pricing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from catalog import amounts as sums

PRICE_KEYS = (
    "prompt", "completion", "request", "image", "image_token", "image_output", "audio", "audio_output",
    "input_audio_cache", "web_search", "internal_reasoning", "input_cache_read", "input_cache_write",
    "input_cache_write_1h",
)  # fmt: skip
OVERRIDES = "overrides"
OVERRIDE_KEYS = (
    "prompt", "completion", "audio", "input_audio_cache", "input_cache_read", "input_cache_write", "input_cache_write_1h",
)  # fmt: skip
"""What an override may change: the keys of OpenRouter's `PricingOverride` (its Python SDK 1.3.84, November 2026)."""
CONDITIONS = ("min_prompt_tokens", "utc_start", "utc_end", "utc_days")
UTC_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DAY_S = 86_400
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday."""
_NOTHING: Mapping[str, Decimal] = MappingProxyType({})


class PricingError(ValueError):
    """A pricing that cannot be read. `str()` names the value, the rule and the cure."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of each of these UTC days (0: Monday), `start_s` included and `end_s` not, in seconds of the day.

    Where `end_s` is not after `start_s`, the window wraps past midnight; each part needs its own day to be among `days`.
    """

    start_s: int
    end_s: int
    days: frozenset[int]

    def contains(self, epoch_s: float) -> bool:
        day, second = divmod(epoch_s, _DAY_S)
        if (int(day) + _EPOCH_WEEKDAY) % 7 not in self.days:
            return False
        if self.start_s < self.end_s:
            return self.start_s <= second < self.end_s
        return second >= self.start_s or second < self.end_s


@dataclass(frozen=True, slots=True)
class Override:
    """Prices that replace those of the same key: for prompts of more than so many tokens, or at certain hours, or both."""

    known: Mapping[str, Decimal]
    above_prompt_tokens: int = -1
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per token (per request, per image … where named so), `Decimal`, keyed as OpenRouter's `pricing`.

    `known` holds only the keys that were given; a missing key falls back to its parent's price or to zero
    (`accounting.pricing` has the rules). It holds where no override applies; of those that apply, the last wins, key by key.
    """

    known: Mapping[str, Decimal] = field(default_factory=lambda: _NOTHING)
    overrides: tuple[Override, ...] = ()
    _written: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Every record of a request carries them.
        object.__setattr__(self, "_written", written(self.known))

    @classmethod
    def parse(cls, pricing: Any) -> Prices:
        """From {"prompt": "0.0000005", "overrides": [{"min_prompt_tokens": 200000, "prompt": "0.000001"}]}.

        Raises `PricingError` for anything else.
        """
        if not isinstance(pricing, Mapping):
            raise PricingError('Give an object, e.g. {"prompt": "0.0000005", "completion": "0.0000015"} (USD per token).')
        known = {key: value for key, value in pricing.items() if key != OVERRIDES}
        return cls(_amounts(known, PRICE_KEYS), _overrides(pricing.get(OVERRIDES, [])))

    def get(self, key: str, default: Decimal = Decimal(0)) -> Decimal:
        """The price that holds where no override applies."""
        return self.known.get(key, default)

    def at(self, epoch_s: float) -> Prices:
        """The prices of that moment: what remains are the overrides for long prompts."""
        if not self.overrides or all(override.window is None for override in self.overrides):
            return self
        return Prices(
            self.known,
            tuple(
                Override(override.known, override.above_prompt_tokens)
                for override in self.overrides
                if override.window is None or override.window.contains(epoch_s)
            ),
        )

    def written_for(self, prompt_tokens: int) -> dict[str, str] | None:
        """What `of` gives, as decimal strings for a record; None where nothing is known."""
        if self.overrides:
            return written(self.of(prompt_tokens)) or None
        return self._written or None

    def of(self, prompt_tokens: int) -> Mapping[str, Decimal]:
        """The prices of a whole request with a prompt of so many tokens, cached ones included. Hours are not looked at: `at`."""
        if not self.overrides:
            return self.known
        applied = dict(self.known)
        for override in self.overrides:
            if prompt_tokens > override.above_prompt_tokens:
                applied |= override.known
        return applied


@dataclass(frozen=True, slots=True)
class PriceChange:
    """From `effective_from` (epoch seconds) on, these prices are in force."""

    effective_from: float
    prices: Prices


Timeline = tuple[PriceChange, ...]
"""Changes of one adapter's prices, the latest first."""


def in_force(timeline: Timeline, epoch_s: float) -> PriceChange | None:
    """The change that holds at that moment; None before the first."""
    for change in timeline:
        if change.effective_from <= epoch_s:
            return change
    return None


def _amounts(pricing: Mapping[Any, Any], allowed: Sequence[str]) -> Mapping[str, Decimal]:
    amounts = {}
    for key, price in pricing.items():
        if key not in allowed:
            raise PricingError(f"Unknown price {key!r}; known: {', '.join(allowed)}.")
        amount = sums.read(price) if isinstance(price, str) else None
        if amount is None or amount < 0:
            raise PricingError(f'{key}: {price!r} is not a price; use a decimal string in USD per token, e.g. "0.000001".')
        amounts[key] = amount
    return MappingProxyType(amounts)


def _overrides(written: Any) -> tuple[Override, ...]:
    if not isinstance(written, list) or not all(isinstance(item, Mapping) for item in written):
        raise PricingError('overrides: give a list, e.g. [{"min_prompt_tokens": 200000, "prompt": "0.0000025"}].')
    return tuple(_override(item) for item in written)


def _override(written: Mapping[str, Any]) -> Override:
    known = _amounts({key: value for key, value in written.items() if key not in CONDITIONS}, OVERRIDE_KEYS)
    if not known or len(known) == len(written):
        raise PricingError(
            f"overrides: {dict(written)} needs a price and a condition: min_prompt_tokens, utc_days, or utc_start and utc_end."
        )
    above = written.get("min_prompt_tokens", -1)
    if "min_prompt_tokens" in written and (type(above) is not int or above < 0):
        raise PricingError(f"min_prompt_tokens: {above!r} is not a number of tokens; a longer prompt costs the new price.")
    return Override(known, above, _window(written))


def _window(written: Mapping[str, Any]) -> Window | None:
    if not {"utc_start", "utc_end", "utc_days"} & written.keys():
        return None
    if ("utc_start" in written) != ("utc_end" in written):
        raise PricingError("overrides: utc_start and utc_end go together, e.g. 100 and 400 for 01:00 to 04:00.")
    days = written.get("utc_days", list(UTC_DAYS))
    if not isinstance(days, list) or not days or not set(map(str, days)) <= set(UTC_DAYS):
        raise PricingError(f'utc_days: {days!r} is not a list of days, e.g. ["monday", "tuesday"].')
    start, end = _second("utc_start", written.get("utc_start", 0)), _second("utc_end", written.get("utc_end", 0))
    return Window(start, end, frozenset(UTC_DAYS.index(day) for day in days))


def _second(name: str, clock: Any) -> int:
    """Seconds since midnight of a clock number such as 1030."""
    if type(clock) is not int or not 0 <= clock < 2400 or clock % 100 >= 60:
        raise PricingError(f"{name}: {clock!r} is not a time of day; write 10:30 as 1030.")
    return clock // 100 * 3600 + clock % 100 * 60


def plain(amount: Decimal) -> str:
    """`amount` without exponent and without trailing zeros: 5E-7 is "0.0000005"."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def written(known: Mapping[str, Decimal]) -> dict[str, str]:
    """The amounts as decimal strings."""
    return {key: plain(amount) for key, amount in known.items()}


def published(prices: Prices) -> dict[str, Any]:
    """OpenRouter's `pricing`: `prompt` and `completion` always, other keys and overrides where there are some."""
    zero = Decimal(0)
    both = {"prompt": prices.get("prompt", zero), "completion": prices.get("completion", zero)}
    built: dict[str, Any] = written({**both, **prices.known})
    if prices.overrides:
        built[OVERRIDES] = [{**_conditions(override), **written(override.known)} for override in prices.overrides]
    return built


def _conditions(override: Override) -> dict[str, Any]:
    built: dict[str, Any] = {}
    if override.above_prompt_tokens >= 0:
        built["min_prompt_tokens"] = override.above_prompt_tokens
    if window := override.window:
        if (window.start_s, window.end_s) != (0, 0):
            built |= {"utc_start": _clock(window.start_s), "utc_end": _clock(window.end_s)}
        if len(window.days) < 7:
            built["utc_days"] = [UTC_DAYS[day] for day in sorted(window.days)]
    return built


def _clock(second: int) -> int:
    return second // 3600 * 100 + second % 3600 // 60
