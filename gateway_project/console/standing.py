"""Whether an adapter can answer now, and if not, why: in the words of every page that shows adapters. Pure.

What is configured comes in as the catalogue's entry, what is paused or down as this process's view. Asks nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.entries import AdapterEntry
from catalog.models import Adapter
from gateway_project.console.process import ProcessView
from routingapp.breaker import BreakerState


@dataclass(frozen=True, slots=True)
class Standing:
    """`state`: the colour of its dot, "good", "bad" or "". `is_asked` is False for one that no request can go to.

    `word` is short, `reason` the rest of the sentence, "" where the word says it all.
    """

    state: str
    word: str
    reason: str = ""
    is_asked: bool = True

    @property
    def told(self) -> str:
        return f"{self.word}: {self.reason}" if self.reason else self.word


def of(adapter: Adapter, entry: AdapterEntry | None, here: ProcessView | None) -> Standing:
    """The standing of `adapter`, whose `model` and `provider` are loaded. `here`: None where this process does not serve."""
    if not adapter.model.is_enabled:
        return Standing("", "the model is switched off", is_asked=False)
    if not adapter.is_enabled:
        return Standing("", "switched off", is_asked=False)
    if not adapter.provider.is_enabled:
        return Standing("", "the provider is switched off", is_asked=False)
    if entry is None:
        return Standing("", "new", "the gateway takes it up within a second", is_asked=False)
    if entry.unconfigured:
        return Standing("", "not set up", entry.unconfigured, is_asked=False)
    view = here.health.get(adapter.pk) if here else None
    if view is not None and view.state is not BreakerState.CLOSED:
        if view.is_rate_limited:
            return Standing("bad", "paused", f"its provider asked for it, {view.retry_in_s:.0f} s left")
        return Standing("bad", "paused after faults", f"{view.retry_in_s:.0f} s left, {view.last_error}")
    engine = here.engines.get(adapter.provider_id) if here else None
    if engine is not None and not engine.is_up:
        return Standing("bad", "engine down", engine.detail)
    return Standing("good", "well" if here else "configured")
