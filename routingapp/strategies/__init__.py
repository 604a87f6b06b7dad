"""The strategies by name. A strategy puts adapters in order; which adapters may be used at all is decided before it.

Each is one pure function in a module of its own: `rank(adapters, situation) -> list[Ranked]`. It gives every adapter back,
once. To add one: write the function, add a line to `REGISTRY`, and make a migration (the name becomes a choice in admin).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.strategies.ranked import Ranked
from routingapp.strategies.weighted import weighted

Rank = Callable[[Sequence[AdapterEntry], Situation], list[Ranked]]


class Strategy(NamedTuple):
    """`sentence` is what operators read in admin; `rank` does it."""

    sentence: str
    rank: Rank


REGISTRY: Mapping[str, Strategy] = MappingProxyType(
    {
        "weighted": Strategy("Each adapter gets its weight's share of the traffic; the others stand by.", weighted),
    }
)
STRATEGIES = {name: strategy.sentence for name, strategy in REGISTRY.items()}
"""Every strategy's sentence by its name."""
