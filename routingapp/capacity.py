"""What adapters may still take: their limits and the keys they are called with, as this process knows them.

Pure; `now` is in seconds of one clock, `epoch` a clock that tells the time of day, for what is told to callers.
"""

from __future__ import annotations

from collections.abc import Callable

from catalog.entries import AdapterEntry, Catalogue
from routingapp.ask import Ask
from routingapp.keypool import KeyPools
from routingapp.limits import Limiter, Refusal, Scope

DEFAULT_OUTPUT_TOKENS = 1024
"""Reserved for the answer where the caller sets no max_tokens: the most a model may say would block small limits for nothing."""


def tokens_of(ask: Ask, adapter: AdapterEntry | None = None) -> int:
    """How many tokens `ask` is expected to use: its prompt, and max_tokens or a sane default."""
    output = ask.max_output_tokens
    if output is None:
        most = adapter.max_output_length if adapter is not None else None
        output = min(most or DEFAULT_OUTPUT_TOKENS, DEFAULT_OUTPUT_TOKENS)
    return ask.prompt_tokens + output


class Capacity:
    """The counters and key pools of one process. `revision` is that of the snapshot in force. Not for several threads."""

    def __init__(self, epoch: Callable[[], float], *, is_limiting: bool = True) -> None:
        self.epoch = epoch
        self.is_limiting = is_limiting
        self.revision = 0
        self.limiter = Limiter()
        self.pools = KeyPools()
        self._scopes: dict[int, tuple[AdapterEntry, tuple[Scope, ...]]] = {}

    def follow(self, catalogue: Catalogue, revision: int) -> None:
        """From now on `catalogue` is in force. What is known of adapters and keys that it does not have is dropped."""
        if revision == self.revision:
            return
        self.revision = revision
        adapters = {adapter.id: adapter for model in catalogue.models for adapter in model.adapters}
        self.pools.forget_others([adapter.provider for adapter in adapters.values()])
        self._scopes = {adapter_id: known for adapter_id, known in self._scopes.items() if adapter_id in adapters}

    def scopes_of(self, adapter: AdapterEntry) -> tuple[Scope, ...]:
        """Whose limits a call of `adapter` counts against: its provider's and its own."""
        known = self._scopes.get(adapter.id)
        if known is None or known[0] is not adapter:
            known = self._scopes[adapter.id] = (adapter, self._read(adapter))
        return known[1]

    def _read(self, adapter: AdapterEntry) -> tuple[Scope, ...]:
        if not self.is_limiting:
            return ()
        provider = adapter.provider
        scopes = (
            Scope("provider", str(provider.id), provider.name, provider.limits),
            Scope("adapter", str(adapter.id), f"{adapter.model_id} at {provider.name}", adapter.limits),
        )
        return tuple(scope for scope in scopes if not scope.limits.is_none)

    def refusal(self, ask: Ask, adapter: AdapterEntry, now: float) -> Refusal | None:
        """The limit of `adapter` that has no room for `ask`; None if all have."""
        scopes = self.scopes_of(adapter)
        return self.limiter.refusal(scopes, tokens_of(ask, adapter), now) if scopes else None

    def keys_out(self, adapter: AdapterEntry, now: float) -> str | None:
        """Why no key of the adapter's provider can be sent; None if one can."""
        return self.pools.why_none(adapter.provider, now, self.revision)

    def is_rate_limited(self, adapter: AdapterEntry, now: float) -> bool:
        """Whether no key of the adapter's provider can be sent because of 429s alone."""
        return self.pools.is_rate_limited(adapter.provider, now, self.revision)

    def keys_back_in_s(self, adapter: AdapterEntry, now: float) -> float:
        """Seconds until the first key of the adapter's provider can be sent again; 0 if one can be now."""
        return self.pools.retry_in_s(adapter.provider, now)
