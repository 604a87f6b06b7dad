"""A whole answer of Google's, or one as it streams, as completion and chunks. Sans-I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from completions.dialects.base import JSON, Chunk, Completion, EventStreamDecoder, parse_json
from completions.dialects.gemini import citations, failure, response, tokens
from completions.dialects.gemini.generation import Generation
from gateway_project.errors import ProviderUnavailable

_READ = frozenset({"candidates", "usageMetadata", "responseId", "modelVersion", "promptFeedback"})


class _Answer:
    """What is remembered of one answer while its pieces come in."""

    def __init__(self, generation: Generation) -> None:
        self._bills_each_search = generation.bills_each_search
        self._readers: dict[int, response.CandidateReader] = {}
        self._finished: set[int] = set()
        self._counts: JSON = {}
        self._searches: dict[int, int] = {}
        self._model_version: Any = None

    @property
    def is_finished(self) -> bool:
        """Whether every candidate seen so far has given a finish reason."""
        return bool(self._finished) and self._finished == set(self._readers)

    def read(self, said: JSON, raw: bytes) -> Chunk:
        """The piece `said` as a chunk. Raises `ProviderError` if it is an error or the refusal of the prompt."""
        candidates = said.get("candidates") or []
        feedback = said.get("promptFeedback") or {}
        problem = failure.reported(said, raw) or (None if candidates else failure.blocked(feedback, raw))
        if problem is not None:
            raise problem
        response_id = said.get("responseId")
        choices, unread = [], []
        for position, candidate in enumerate(candidates):
            index = candidate.get("index", position)
            if index not in self._readers:
                self._readers[index] = response.CandidateReader(index, response_id or "")
            choice, rest = self._readers[index].read(candidate)
            choices.append(choice)
            if rest:
                unread.append(rest)
            if choice["finish_reason"] is not None:
                self._finished.add(index)
            self._searches[index] = max(self._searches.get(index, 0), citations.searches(candidate))
        return Chunk(choices, self._usage(said.get("usageMetadata")), response_id, self._extra(said, unread))

    def _usage(self, counts: Any) -> Any:
        """The total so far: some pieces leave out counts that earlier ones had."""
        if not isinstance(counts, dict) or not counts:
            return None
        self._counts |= counts
        searches = sum(self._searches.values())
        return tokens.usage(self._counts, searches if self._bills_each_search else min(searches, 1))

    def _extra(self, said: Mapping[str, Any], unread: list[JSON]) -> JSON:
        """What has no canonical home, under `google`; the model's version once."""
        rest = {key: value for key, value in said.items() if key not in _READ}
        if said.get("promptFeedback"):
            rest["promptFeedback"] = said["promptFeedback"]
        if said.get("modelVersion") not in (None, self._model_version):
            self._model_version = rest["modelVersion"] = said["modelVersion"]
        if unread:
            rest["candidates"] = unread
        return {"google": rest} if rest else {}


def decode(body: bytes, generation: Generation) -> Completion:
    """A whole answer. Raises `ProviderError` if it is none."""
    said = parse_json(body, "an answer")
    try:
        chunk = _Answer(generation).read(said, body)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ProviderUnavailable(f"Provider sent an answer of unknown shape: {error}", raw=_excerpt(body)) from error
    if not chunk.choices:
        raise ProviderUnavailable("Provider sent an answer without candidates", upstream_status=200, raw=_excerpt(body))
    return Completion([response.whole(choice) for choice in chunk.choices], chunk.usage, chunk.upstream_id, chunk.extra)


class GeminiDecoder(EventStreamDecoder):
    """Chunks of one stream. Google has no end mark: it is finished when its candidates are.

    Gemini 3 sends its last counts in an event of their own, after the finish reason (observed 2026), so `is_done` stays
    false until the connection ends.
    """

    def __init__(self, generation: Generation) -> None:
        super().__init__()
        self._answer = _Answer(generation)

    def on_event(self, name: bytes, data: bytes) -> Chunk | None:
        if data == b"[DONE]":  # Not Google's, but proxies that speak OpenAI elsewhere add it.
            return None
        said = self.parse(data)
        if said is None:
            return None
        chunk = self._answer.read(said, data)
        self.is_finished = self._answer.is_finished
        return chunk if chunk.choices or chunk.usage or chunk.extra else None


def _excerpt(body: bytes) -> str:
    return body[:4000].decode("utf-8", "replace")
