"""What the name of a Google model tells about how to ask it. Pure data about models; knows nothing of requests."""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION = re.compile(r"gemini-(?P<major>\d+)(?:\.(?P<minor>\d+))?(?=-|$)")
_LATEST = (3, 8)
"""What `gemini-flash-latest` and its like stand for (docs.cloud.google.com guide to Gemini 3.8 Flash, September 2026)."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A model's version and kind. Version (0, 0) is a model that is no Gemini, such as Gemma."""

    version: tuple[int, int]
    name: str

    @classmethod
    def of(cls, upstream_model: str) -> Generation:
        name = upstream_model.rsplit("/", 1)[-1].lower()
        found = _VERSION.match(name)
        if found:
            return cls((int(found["major"]), int(found["minor"] or 0)), name)
        return cls(_LATEST if name.startswith("gemini-") else (0, 0), name)

    @property
    def makes_images(self) -> bool:
        return "-image" in self.name

    @property
    def can_think(self) -> bool:
        """Whether `thinkingConfig` is taken: from 2.5 on, not by 2.5's image models, never by speech models."""
        return self.version >= (2, 5) and "-tts" not in self.name and not (self.makes_images and self.version < (3, 0))

    @property
    def thinks_in_levels(self) -> bool:
        """`thinkingLevel` came with 3; 2.5 takes `thinkingBudget` alone (ai.google.dev/gemini-api/docs/thinking, 2026)."""
        return self.version >= (3, 0)

    @property
    def levels(self) -> frozenset[str]:
        """The levels that the model takes; any other is answered with 400.

        3.0 Pro takes two, every other Pro and Flash from 3.6 on three, Flash up to 3.5 and Flash-Lite also MINIMAL
        (ai.google.dev/gemini-api/docs/generate-content/whats-new-gemini-3.7 and docs.cloud.google.com, September 2026).
        """
        if "-pro" in self.name:
            return frozenset({"LOW", "HIGH"} if self.version == (3, 0) else {"LOW", "MEDIUM", "HIGH"})
        if "-lite" in self.name or self.version <= (3, 5):
            return frozenset({"MINIMAL", "LOW", "MEDIUM", "HIGH"})
        return frozenset({"LOW", "MEDIUM", "HIGH"})

    @property
    def budget_range(self) -> tuple[int, int]:
        """Smallest and largest budget of 2.5, apart from 0 (ai.google.dev/gemini-api/docs/thinking, 2026)."""
        if "-pro" in self.name:
            return 128, 32_768
        return (512, 24_576) if "-lite" in self.name else (1, 24_576)

    @property
    def can_stop_thinking(self) -> bool:
        return not self.thinks_in_levels and "-pro" not in self.name

    @property
    def checks_signatures(self) -> bool:
        """From 3 on a function call of the current turn without thought signature is answered with 400.

        ai.google.dev/gemini-api/docs/thought-signatures, read November 2026.
        """
        return self.version >= (3, 0)

    @property
    def combines_tools(self) -> bool:
        """From 3 on Google's own tools and functions go together, if the request says `includeServerSideToolInvocations`.

        Without it the answer is 400 (github.com/ag2ai/ag2/pull/3145, August 2026).
        """
        return self.version >= (3, 0)

    @property
    def takes_media_in_tool_results(self) -> bool:
        """`functionResponse.parts` came with 3 (docs.cloud.google.com, Gemini 3 Flash, 2026)."""
        return self.version >= (3, 0)

    @property
    def takes_sampling(self) -> bool:
        """From 3.6 on (and 3.5 Flash-Lite) temperature, top-p and top-k have no effect; Google says they will become errors.

        github.com/langchain-ai/langchain-google/pull/1897, July 2026; Gemini 3.7 migration notes, August 2026.
        """
        return self.version < (3, 5) or (self.version == (3, 5) and "-lite" not in self.name)

    @property
    def bills_each_search(self) -> bool:
        """From 3 on every search query is billed, before that a grounded prompt once (ai.google.dev pricing, 2026)."""
        return self.version >= (3, 0)
