"""The lines of a traffic split's page, one for each adapter: what is set, and what is the case at this moment.

What is of one moment is read together, for the page as it opens and for each look after that (`Line.live`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from catalog.entries import AdapterEntry
from catalog.models import Adapter, LanguageModel
from gateway_project.console import apportion, lately, process, standing
from gateway_project.console.lately import Landed
from gateway_project.console.process import Headroom
from gateway_project.console.split import Saved, Split
from gateway_project.console.standing import Standing
from gateway_project.console.words import NOTHING, count, duration, per_million, share

IN_FORCE_AFTER = timedelta(seconds=1)
"""Requests that arrive sooner after a change may still have gone by the split before it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One adapter of the model: what is set, what is the case, what it costs and how fast it is.

    `actual` is its share of the requests that `Lines.actual_of` speaks of, of which it answered `requests`, `errors` of them
    with an error. `first_token_ms`: the 95th percentile of the last hour. `headroom`: what its limits leave.
    """

    adapter: Adapter
    entry: AdapterEntry | None
    percentage: int
    actual: float | None
    requests: int
    errors: int
    first_token_ms: float | None
    standing: Standing
    headroom: Sequence[Headroom]

    @property
    def price(self) -> str:
        """USD per million tokens in and out."""
        if self.entry is None:
            return NOTHING
        return " / ".join(per_million(self.entry.prices.known.get(name)) for name in ("prompt", "completion"))

    @property
    def failed(self) -> str:
        return f"{count(self.errors)} of {count(self.requests)}"

    @property
    def live(self) -> dict[str, Any]:
        """Everything that changes while somebody looks, as it is to be shown."""
        return {
            "actual": share(self.actual),
            "errors": self.failed,
            "first_token": duration(self.first_token_ms),
            "state": self.standing.state,
            "told": self.standing.told,
            "headroom": [
                {"told": f"{count(limit.used)} used of {limit.rule}", "width": share(limit.share)}
                for limit in self.headroom
            ],
        }


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines in the order of the adapters, and a sentence saying what their actual shares are shares of."""

    lines: Sequence[Line]
    actual_of: str


def read(model: LanguageModel, present: Split, history: Sequence[Saved]) -> Lines:
    """The lines of `model` with the split `present` in force, `history` its changes, the latest first."""
    landed = _landed(model, history)
    shares = apportion.tenths(landed.shares)
    hour = lately.hour(timezone.now(), model.public_id)
    found = process.catalogue().find(model.public_id)
    entries = {entry.id: entry for entry in found.adapters} if found else {}
    here = process.look()
    percentages = present.percentages
    lines = [
        Line(
            adapter,
            entries.get(adapter.pk),
            percentages.get(adapter.pk, 0),
            shares.get(adapter.pk, 0.0) if landed.requests else None,
            landed.counts[adapter.pk],
            landed.errors[adapter.pk],
            hour[adapter.pk].ttft_p95_ms if adapter.pk in hour else None,
            standing.of(adapter, entries.get(adapter.pk), here),
            here.headroom.get(adapter.pk, ()) if here else (),
        )
        for adapter in Adapter.objects.filter(model=model).select_related("provider", "model").order_by("pk")
    ]
    return Lines(lines, _told(landed, history))


def _landed(model: LanguageModel, history: Sequence[Saved]) -> Landed:
    """The requests of the last hour, or of the time since the split was changed if that is shorter."""
    start = timezone.now() - lately.HOUR
    if history:
        start = max(start, history[0].at + IN_FORCE_AFTER)
    return lately.landed(model.public_id, start)


def _told(landed: Landed, history: Sequence[Saved]) -> str:
    when = "in the last hour"
    if history and landed.since == history[0].at + IN_FORCE_AFTER:
        when = "since this split was saved"
    if not landed.requests:
        return f"There was no request {when}, so there is no actual share yet."
    latest = "" if landed.is_all else "latest "
    return (
        f"Actual and errors: where the {latest}{landed.requests} request{'s'[: landed.requests != 1]} {when} were answered, "
        "and how many of them failed."
    )
