"""How many tokens of which class a request used. Classes are disjoint: each token is in one, and is charged once.

Pure. Dialects build a `Usage` from what their provider reports; `accounting.pricing` turns it into money.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import add, attrgetter
from typing import Any

import msgspec


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts of one answer. `is_estimated`: the provider reported none, so they were counted here, roughly.

    `prompt_uncached`, `cache_read` and `completion_text` are all that is neither audio nor image and has no class of its own.
    """

    prompt_uncached: int = 0
    cache_read: int = 0
    cache_read_audio: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    prompt_audio: int = 0
    prompt_image: int = 0
    completion_text: int = 0
    reasoning: int = 0
    completion_audio: int = 0
    completion_image: int = 0
    web_searches: int = 0
    is_estimated: bool = False

    @property
    def prompt_tokens(self) -> int:
        """All of the prompt, cached or not: what OpenRouter calls `prompt_tokens`."""
        uncached = self.prompt_uncached + self.prompt_audio + self.prompt_image
        return uncached + self.cached_tokens + self.cache_write + self.cache_write_1h

    @property
    def cached_tokens(self) -> int:
        """What of the prompt was read from the provider's cache."""
        return self.cache_read + self.cache_read_audio

    @property
    def completion_tokens(self) -> int:
        """All of the answer, reasoning included: what OpenRouter calls `completion_tokens`."""
        return self.completion_text + self.reasoning + self.completion_audio + self.completion_image

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @classmethod
    def of(cls, classes: Mapping[str, Any]) -> Usage:
        """The usage that `classes` described. Raises `TypeError` for a class that this version does not know."""
        return cls(**classes)

    def classes(self) -> dict[str, int]:
        """The classes that hold something, as a journal line and a row keep them."""
        held: dict[str, int] = msgspec.to_builtins(self)
        held.pop("is_estimated", None)
        return held

    def __add__(self, other: Usage) -> Usage:
        """The two together, class by class; estimated if either is."""
        counts = map(add, _counts(self), _counts(other))
        classes = dict(zip(_CLASSES, counts, strict=True))
        return Usage(**classes, is_estimated=self.is_estimated or other.is_estimated)


_CLASSES = tuple(name for name in Usage.__struct_fields__ if name != "is_estimated")
_counts = attrgetter(*_CLASSES)

NO_USAGE = Usage()

CHARACTERS_PER_TOKEN = 4
"""A rule of thumb for English, used only where a provider reports nothing."""


def estimate(prompt_characters: int, completion_characters: int) -> Usage:
    """A rough `Usage` from lengths in characters, marked as estimated."""
    return Usage(
        prompt_uncached=-(-prompt_characters // CHARACTERS_PER_TOKEN),
        completion_text=-(-completion_characters // CHARACTERS_PER_TOKEN),
        is_estimated=True,
    )
