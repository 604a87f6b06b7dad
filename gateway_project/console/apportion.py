"""Shares rounded together, so that what is shown side by side sums as it should: 87.5% and 12.5%, never 88% and 13%. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def parts(weights: Mapping[Key, float], whole: int) -> dict[Key, int]:
    """`weights` as integers that sum to `whole`, by largest remainder; all 0 where all weights are."""
    total = sum(weights.values())
    if not total:
        return dict.fromkeys(weights, 0)
    exact = {key: weight / total * whole for key, weight in weights.items()}
    found = {key: int(share) for key, share in exact.items()}
    by_remainder = sorted(exact, key=lambda key: found[key] - exact[key])
    for key in by_remainder[: whole - sum(found.values())]:
        found[key] += 1
    return found


def tenths(shares: Mapping[Key, float]) -> dict[Key, float]:
    """Shares from 0 to 1, each in whole tenths of a per cent, that sum to what `shares` sum to."""
    whole = parts(shares, round(sum(shares.values()) * 1000))
    return {key: part / 1000 for key, part in whole.items()}
