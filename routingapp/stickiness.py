"""Which adapter holds a conversation's cached prompt (openrouter.md 8.5). In memory of one process, bounded, pure.

Pins may be told to other processes and heard from them, so that a conversation stays where it is whichever process it meets.

A hint, never a rule: the planner puts the adapter first if it may serve, and falls back from it as from any other. An error
leaves a conversation pinned where its cache is.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.entries import AdapterEntry

IDLE_S = 600.0
"""Ten idle minutes end a pin: about how long providers keep a prompt that nobody asks for."""

OPENING = "opening:"
"""How keys begin that were made from a conversation's first messages, because the caller gave no name."""

MAX_CONVERSATIONS = 50_000
"""The least recently used go first; some 20 MB when full."""

TELL_EVERY_S = 120.0
"""A conversation that goes on is told of this often: well within the idle time after which others forget it."""

MAX_NAME = 256
"""Characters of a name that are kept as they are: callers may name a conversation at any length."""

Conversation = tuple[int | None, str, str]
"""Whatever tells conversations apart: the caller's key, the model as it was asked for, and `key_of`."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """An adapter has just answered a conversation that is pinned to it."""

    conversation: Conversation
    adapter_id: int


def key_of(
    body_session: str | None,
    header_session: str | None,
    prompt_cache_key: str | None,
    messages: Sequence[Mapping[str, Any]],
) -> str:
    """What names a conversation: `session_id`, else `x-session-id`, else `prompt_cache_key`, else its first messages.

    Those are the first system or developer message and the first other one: they stay the same while the conversation
    grows. Only their text counts. Empty where there is nothing to go by.
    """
    for kind, name in (("session", body_session), ("session", header_session), ("cache", prompt_cache_key)):
        if name:
            return f"{kind}:{name if len(name) <= MAX_NAME else _digest(name)}"
    opening = [*_first(messages, is_system=True), *_first(messages, is_system=False)]
    if not opening:
        return ""
    return OPENING + _digest(*(f"\0{message.get('role')}\0{_text(message.get('content'))}" for message in opening))


def is_worthwhile(adapter: AdapterEntry) -> bool:
    """Whether staying with an adapter saves money: its cache reads cost less than its prompt tokens."""
    known = adapter.prices.known
    return "input_cache_read" in known and known["input_cache_read"] < adapter.prices.get("prompt")


class Stickiness:
    """Pins by conversation. `tell` is called with what other processes may want to know."""

    def __init__(self, idle_s: float = IDLE_S, max_conversations: int = MAX_CONVERSATIONS) -> None:
        self._idle_s = idle_s
        self._max = max_conversations
        self._pins: OrderedDict[Conversation, tuple[int, float]] = OrderedDict()
        self.tell: Callable[[Pinned], None] | None = None

    def __len__(self) -> int:
        return len(self._pins)

    def get(self, key: Conversation, now: float) -> int | None:
        """The id of the adapter that the conversation is pinned to, None where it is not or has been idle too long."""
        pin = self._pins.get(key)
        if pin is None:
            return None
        adapter_id, used_at = pin
        if now - used_at > self._idle_s:
            del self._pins[key]
            return None
        return adapter_id

    def put(self, key: Conversation, adapter: AdapterEntry, now: float) -> None:
        """`adapter` has just answered the conversation, which is pinned to it if that saves money.

        Where another adapter had to step in, the pin stays where the cache is, until that has been idle for too long.
        """
        pinned = self.get(key, now)
        if not is_worthwhile(adapter) or pinned not in (None, adapter.id):
            return
        if self.tell is not None and (pinned is None or _is_due(self._pins[key][1], now)):
            self.tell(Pinned(key, adapter.id))
        self._pin(key, adapter.id, now)

    def hear(self, told: Pinned, used_at: float, now: float) -> None:
        """Another process pinned a conversation, on the clock of `now` at `used_at`. A pin of this process's own stays."""
        if now - used_at > self._idle_s or self.get(told.conversation, now) not in (None, told.adapter_id):
            return
        known = self._pins.get(told.conversation)
        if known is None or known[1] < used_at:
            self._pin(told.conversation, told.adapter_id, used_at)

    def _pin(self, key: Conversation, adapter_id: int, used_at: float) -> None:
        self._pins[key] = (adapter_id, used_at)
        self._pins.move_to_end(key)
        if len(self._pins) > self._max:
            self._pins.popitem(last=False)


def _is_due(used_at: float, now: float) -> bool:
    """Whether a new stretch of `TELL_EVERY_S` has begun since a pin was last used."""
    return now // TELL_EVERY_S != used_at // TELL_EVERY_S


def _digest(*texts: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _first(messages: Sequence[Mapping[str, Any]], *, is_system: bool) -> list[Mapping[str, Any]]:
    for message in messages:
        if (message.get("role") in ("system", "developer")) is is_system:
            return [message]
    return []


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\0".join(part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str))
