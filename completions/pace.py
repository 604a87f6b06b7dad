"""The pace of a streamed answer: the mean time between two of its tokens after the first. Pure; one home for every metric of it."""

from __future__ import annotations

from accounting.record import Record
from accounting.usage import Usage
from completions.relay import Tally


def streamed_tokens(usage: Usage, tally: Tally) -> int:
    """How many of an answer's tokens came after its first content began.

    Reasoning of which the provider sent nothing was over by then: counted in, it makes a slow stream look a hundred times as fast.
    """
    return usage.completion_tokens if tally.has_reasoning else usage.completion_tokens - usage.reasoning


def between_tokens_s(record: Record, tokens: int) -> float | None:
    """The mean seconds between two of the `tokens` that were streamed; None where there was no stream, or nothing between.

    A stream that broke off or was left has none either: how many tokens it had is an estimate, far off where it was short.
    """
    if record.ttft_ms is None or tokens < 2 or record.error is not None:
        return None
    return (record.latency_ms - record.ttft_ms) / 1000 / (tokens - 1)
