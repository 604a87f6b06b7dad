"""What a usage costs at given prices. Pure, exact (`Decimal`), and the only place where tokens become money."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from accounting.usage import Usage
from catalog.prices import Prices

ZERO = Decimal(0)


class Cost(msgspec.Struct, frozen=True):
    """USD, split as OpenRouter's `cost_details` splits it."""

    prompt: Decimal = ZERO
    completion: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.prompt + self.completion

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.prompt + other.prompt, self.completion + other.completion)


FREE = Cost()


def cost(usage: Usage, prices: Prices) -> Cost:
    """The cost of `usage` at `prices`, in USD. The whole request is charged at the tier of its prompt, as providers bill.

    Where a class has no price of its own it is charged as the class it belongs to: cached, audio and image input as `prompt`,
    reasoning, audio and image output as `completion`. A published `internal_reasoning` of 0 means "no surcharge", so
    reasoning is then charged as `completion` as well (openrouter.md 5.1). `image` is published only: nobody reports pictures,
    and providers bill their tokens.
    """
    known = prices.of(usage.prompt_tokens) if prices.overrides else prices.known
    if not known:
        return FREE
    prompt = known.get("prompt", ZERO)
    completion = known.get("completion", ZERO)
    charged_in = usage.prompt_uncached * prompt + known.get("request", ZERO)
    if usage.cache_read:
        charged_in += usage.cache_read * known.get("input_cache_read", prompt)
    if usage.cache_read_audio:
        cached = known.get("input_cache_read", known.get("audio", prompt))
        charged_in += usage.cache_read_audio * known.get("input_audio_cache", cached)
    if usage.cache_write:
        charged_in += usage.cache_write * known.get("input_cache_write", prompt)
    if usage.cache_write_1h:
        charged_in += usage.cache_write_1h * known.get("input_cache_write_1h", known.get("input_cache_write", prompt))
    if usage.prompt_audio:
        charged_in += usage.prompt_audio * known.get("audio", prompt)
    if usage.prompt_image:
        charged_in += usage.prompt_image * known.get("image_token", prompt)
    charged_out = usage.completion_text * completion
    if usage.reasoning:
        charged_out += usage.reasoning * (known.get("internal_reasoning") or completion)
    if usage.completion_audio:
        charged_out += usage.completion_audio * known.get("audio_output", completion)
    if usage.completion_image:
        charged_out += usage.completion_image * known.get("image_output", completion)
    if usage.web_searches:
        charged_out += usage.web_searches * known.get("web_search", ZERO)
    return Cost(charged_in, charged_out)


def is_free(usage: Usage, finish_reason: str | None) -> bool:
    """Whether nothing is charged: the answer failed without a single token of output (openrouter.md 2, billing rule)."""
    return not usage.completion_tokens and finish_reason in (None, "error")
