"""The dynamic suffixes of a model's name: `:nitro`, `:floor`, `:exacto` and `:online` work on every model. Pure.

Static suffixes (`:free`, `:thinking` …) are models of their own in the catalogue (openrouter.md 6).
"""

from __future__ import annotations

from catalog.entries import Catalogue, ModelEntry
from routingapp.preferences import SortBy

DYNAMIC = {"nitro": SortBy.THROUGHPUT, "floor": SortBy.PRICE, "exacto": SortBy.EXACTO, "online": None}
"""By suffix: what adapters are sorted by. `online` asks for a plugin, which is none of routing's business."""


def find(name: str, catalogue: Catalogue) -> tuple[ModelEntry | None, SortBy | None]:
    """The model of that name, and the sort that its last suffix asks for. Names as they are in the catalogue come first."""
    sort: SortBy | None = None
    while True:
        model = catalogue.find(name)
        if model is not None:
            return model, sort
        base, _, suffix = name.rpartition(":")
        if not base or suffix not in DYNAMIC:
            return None, sort
        name, sort = base, sort or DYNAMIC[suffix]
