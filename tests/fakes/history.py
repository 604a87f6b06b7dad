"""A month of made-up traffic in the database of a gateway, for looking at the console: `python -m tests.fakes.history`.

Uses the ledger's own way into the database, so that rows, hourly sums and totals agree. Needs a catalogue to be there.
"""

from __future__ import annotations

import math
import os
import random
import sys
import time
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
HOURS = 720
FAILURES = (("provider_unavailable", 502), ("timeout", 504), ("rate_limit_exceeded", 429))


def write(requests_per_hour: float = 4, seed: int = 7) -> int:
    """Add the traffic; returns how many requests it was. Busier by day than by night, and growing."""
    from accounting import keys, store
    from accounting.lines import encode
    from accounting.models import ApiKey
    from accounting.rows import read
    from catalog import environment, loader
    from completions import underway
    from routingapp import loader as routing_loader

    dice = random.Random(seed)
    for name in ("support chat", "search", "nightly reports"):
        if not ApiKey.objects.filter(name=name).exists():
            keys.mint(name)
    callers = [None, *ApiKey.objects.values_list("pk", flat=True)]
    adapters = [
        adapter
        for model in loader.load(environment.lookup).models
        for adapter in model.adapters
        if adapter.unconfigured is None
    ]
    routing = routing_loader.load(offload=False)
    weights = [routing.weight_of(adapter.id) + 0.05 for adapter in adapters]
    now, lines = time.time(), []
    for hours_ago in range(HOURS):
        day = 1 + math.sin((now / 3600 - hours_ago) % 24 / 24 * 2 * math.pi - 2)
        busy = requests_per_hour * day * (1 - hours_ago / HOURS * 0.6)
        for _ in range(int(busy) + (dice.random() < busy % 1)):
            at = now - hours_ago * 3600 - dice.random() * 3000
            adapter = dice.choices(adapters, weights)[0]
            record = _record(underway.generation_id(at), at, adapter, dice.choice(callers), dice)
            lines.append(read(encode(record)))
    for start in range(0, len(lines), 500):
        store.add(lines[start : start + 500], "default")
    return len(lines)


def _record(request_id: str, at: float, adapter: Any, api_key_id: int | None, dice: random.Random) -> Any:
    from accounting.pricing import cost
    from accounting.record import Attempt, Record
    from accounting.usage import Usage
    from catalog.prices import written

    prompt, completion = min(4000, int(dice.lognormvariate(6, 1))), min(2000, int(dice.lognormvariate(5, 0.8)))
    prices = adapter.prices
    usage = Usage(prompt_uncached=prompt, completion_text=completion)
    slowness = 1 + adapter.id % 3
    first, rest = int(dice.lognormvariate(5, 0.4) * slowness), int(completion * 8 * slowness)
    attempt = Attempt(adapter.id, adapter.provider.slug, adapter.upstream_model, 0, first + rest, first, 200)
    record = Record(
        request_id=request_id, timestamp=at, model_id=adapter.model_id, requested_model=adapter.model_id,
        provider=adapter.provider.slug, adapter_id=adapter.id, upstream_model=adapter.upstream_model, api_key_id=api_key_id,
        status_code=200, finish_reason="stop", stream=True, latency_ms=first + rest, ttft_ms=first, prompt_tokens=prompt,
        completion_tokens=completion, total_tokens=prompt + completion, cost_usd=format(cost(usage, prices).total, "f"),
        prices=written(prices.of(prompt)) or None, temperature=0.7, attempts=[attempt],
    )  # fmt: skip
    if dice.random() < 0.02:
        error_type, status = dice.choice(FAILURES)
        record.status_code, record.error_type, record.error = status, error_type, "Provider did not answer"
        record.error_domain = "provider"
        record.completion_tokens, record.total_tokens, record.cost_usd, record.ttft_ms = 0, prompt, "0", None
    return record


if __name__ == "__main__":
    django.setup()
    print(f"{write()} requests written")  # noqa: T201  it is the command's output
    sys.exit(0)
