"""How busy a local engine says it is: its queue, read from its Prometheus page. Pure.

Names of the gauges (their sources, read November 2026): vLLM `num_requests_…`, one sample per model and data-parallel engine;
SGLang with `--enable-metrics`, likewise; llama.cpp's server with `--metrics`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_WAITING = frozenset({"vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred"})
_RUNNING = frozenset({"vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing"})
_SAMPLE = re.compile(r"(?P<name>[a-z]+:[a-z_]+)(?:\{.*\})?[ \t]+(?P<value>\S+)")


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """Requests in an engine's queue and under way in it; None where it does not say."""

    waiting: int | None = None
    running: int | None = None


def parse(text: str) -> EngineLoad:
    """The load that a Prometheus page tells of, summed over the models and engines behind one address."""
    waiting: float | None = None
    running: float | None = None
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample is None or (value := _number(sample["value"])) is None:
            continue
        if sample["name"] in _WAITING:
            waiting = (waiting or 0.0) + value
        elif sample["name"] in _RUNNING:
            running = (running or 0.0) + value
    return EngineLoad(*(None if value is None else round(value) for value in (waiting, running)))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
