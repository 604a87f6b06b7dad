"""Which of a provider's keys to send next, and which of them to leave alone for now.

Pure; in memory of one process; times in seconds of one clock. Keys are known by their references (`${ACME_API_KEY}`), never by
their values, so whatever is said or logged here holds no secret. What befalls a key may be told to other processes and heard from
them; the deciding is this process's own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from catalog.entries import ProviderEntry

COOL_DOWN_S = 30.0
"""How long a key rests after a 429 that does not say how long."""
MAX_COOL_DOWN_S = 600.0
RETIRED_S = 600.0
"""A refused key is tried again after this: an account that has been topped up comes back without anybody's help."""
BELIEVED_S = 60.0
"""A refusal that only another process has met is believed for this long: what was refused may have been its address."""


class Fault(enum.Enum):
    """What a provider held against a key."""

    RATE_LIMITED = "rate limited"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class KeyOut:
    """A provider holds `fault` against a key, which rests for `rest_s` seconds. `revision` is that of the teller's snapshot."""

    provider_id: int
    reference: str
    fault: Fault
    rest_s: float
    revision: int


@dataclass(slots=True)
class _Key:
    in_flight: int = 0
    uses: int = 0
    out_until: float = 0.0
    fault: Fault | None = None
    revision: int = 0
    """The snapshot under which the key was refused: a later one may hold its cure."""


class KeyPools:
    """The keys of all providers. Not for several threads. `tell` is called with what other processes may want to know."""

    def __init__(self) -> None:
        self.tell: Callable[[KeyOut], None] | None = None
        self._keys: dict[tuple[int, str], _Key] = {}
        self._troubled: set[int] = set()

    def choose(self, provider: ProviderEntry, now: float, revision: int) -> int | None:
        """The position of the key to send, the least used first; 0 for a provider without keys, None if all are out.

        End it by one `released`. `revision` is the present snapshot's.
        """
        references = provider.api_keys
        if not references:
            return 0
        if len(references) == 1 and provider.id not in self._troubled:
            self._take(provider.id, references[0])
            return 0
        usable = [
            position
            for position, reference in enumerate(references)
            if (key := self._keys.get((provider.id, reference))) is None or not _is_out(key, now, revision)
        ]
        if not usable:
            return None
        if len(usable) == len(references):
            self._troubled.discard(provider.id)
        chosen = min(usable, key=lambda position: self._load(provider.id, references[position]))
        self._take(provider.id, references[chosen])
        return chosen

    def released(self, provider: ProviderEntry, position: int) -> None:
        """A request that was sent with that key is over."""
        if position < len(provider.api_keys):
            key = self._key(provider.id, provider.api_keys[position])
            key.in_flight = max(0, key.in_flight - 1)

    def failed(
        self, provider: ProviderEntry, position: int, fault: Fault, retry_after_s: float | None, now: float, revision: int
    ) -> bool:
        """The provider held `fault` against that key. Gives whether another key may be tried instead.

        A 429 to a provider's only key is left to the breaker, which pauses the one model and not all of them.
        """
        references = provider.api_keys
        if position >= len(references):
            return False
        if fault is Fault.RATE_LIMITED and len(references) == 1:
            return False
        key = self._key(provider.id, references[position])
        rest_s = RETIRED_S if fault is Fault.REFUSED else min(retry_after_s or COOL_DOWN_S, MAX_COOL_DOWN_S)
        key.out_until, key.fault, key.revision = now + rest_s, fault, revision
        self._troubled.add(provider.id)
        if self.tell is not None:
            self.tell(KeyOut(provider.id, references[position], fault, rest_s, revision))
        return self.why_none(provider, now, revision) is None

    def hear(self, told: KeyOut, now: float, revision: int) -> None:
        """Another process has met what `told` says. No rest is made shorter by it. `revision` is the present snapshot's."""
        until = now + min(told.rest_s, BELIEVED_S if told.fault is Fault.REFUSED else MAX_COOL_DOWN_S)
        key = self._key(told.provider_id, told.reference)
        if _is_out(key, now, revision) and key.out_until >= until:
            return
        key.out_until, key.fault, key.revision = until, told.fault, told.revision
        self._troubled.add(told.provider_id)

    def has_trouble(self) -> bool:
        """Whether any key is, or was lately, out: the planner's short cut on good days."""
        return bool(self._troubled)

    def why_none(self, provider: ProviderEntry, now: float, revision: int) -> str | None:
        """Why no key of `provider` can be sent, key by key; None if one can.

        By number, in the order of `provider.api_keys`: callers read it, to whom the names of variables are nothing.
        """
        if provider.id not in self._troubled:
            return None
        reasons = []
        for number, reference in enumerate(provider.api_keys, start=1):
            key = self._keys.get((provider.id, reference))
            if key is None or not _is_out(key, now, revision):
                return None
            which = f"key {number} of {len(provider.api_keys)}"
            reasons.append(f"{which} was {key.fault.value if key.fault else 'out'}, {key.out_until - now:.0f} s left")
        return f"no key can be used: {'; '.join(reasons)}"

    def out(self, provider: ProviderEntry, now: float, revision: int) -> dict[Fault, int]:
        """How many keys of `provider` are out at the moment, by what is held against them."""
        counts = dict.fromkeys(Fault, 0)
        for reference in provider.api_keys if provider.id in self._troubled else ():
            key = self._keys.get((provider.id, reference))
            if key is not None and key.fault is not None and _is_out(key, now, revision):
                counts[key.fault] += 1
        return counts

    def is_rate_limited(self, provider: ProviderEntry, now: float, revision: int) -> bool:
        """Whether every key of `provider` rests after a 429, and none was refused: time alone brings them back."""
        references = provider.api_keys
        return bool(references) and self.out(provider, now, revision)[Fault.RATE_LIMITED] == len(references)

    def retry_in_s(self, provider: ProviderEntry, now: float) -> float:
        """Seconds until the first key comes back; 0 if none is out."""
        waits = [
            key.out_until - now for reference in provider.api_keys if (key := self._keys.get((provider.id, reference)))
        ]
        return max(0.0, min(waits, default=0.0))

    def forget_others(self, providers: Sequence[ProviderEntry]) -> None:
        """Drop what is known of keys that the catalogue no longer has."""
        keep = {(provider.id, reference) for provider in providers for reference in provider.api_keys}
        self._keys = {name: key for name, key in self._keys.items() if name in keep or key.in_flight}
        self._troubled &= {provider.id for provider in providers}

    def _load(self, provider_id: int, reference: str) -> tuple[int, int]:
        key = self._keys.get((provider_id, reference))
        return (key.in_flight, key.uses) if key else (0, 0)

    def _take(self, provider_id: int, reference: str) -> None:
        key = self._key(provider_id, reference)
        key.in_flight += 1
        key.uses += 1

    def _key(self, provider_id: int, reference: str) -> _Key:
        return self._keys.setdefault((provider_id, reference), _Key())


def _is_out(key: _Key, now: float, revision: int) -> bool:
    if now >= key.out_until:
        return False
    return key.fault is Fault.RATE_LIMITED or key.revision == revision
