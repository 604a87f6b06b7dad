"""A whole answer of an OpenAI-compatible provider, or one as it streams, as completion and chunks. Sans-I/O."""

from __future__ import annotations

from typing import Any

from completions.dialects.base import JSON, Chunk, Completion, EventStreamDecoder, parse_json
from completions.dialects.openai import counts, failures
from completions.dialects.openai.choices import ChoiceReader
from gateway_project.errors import ProviderUnavailable

_OWN_KEYS = frozenset({"id", "object", "created", "model", "provider", "choices", "usage", "error"})


def decode(body: bytes) -> Completion:
    """The completion in `body`. Raises `ProviderError` if it holds none."""
    answer = parse_json(body, "an answer")
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise failures.inside(answer, body) or ProviderUnavailable(
            "Provider sent an answer without choices", raw=body[:4000].decode("utf-8", "replace")
        )
    upstream_id = _word(answer.get("id"))
    try:
        read = [
            ChoiceReader(_index(choice, place), upstream_id).read(choice, "message") for place, choice in enumerate(choices)
        ]
        return Completion(read, counts.usage(_reported(answer, choices)), upstream_id, _extra(answer))
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ProviderUnavailable(
            f"Provider sent an answer of unknown shape: {error}", raw=body[:4000].decode("utf-8", "replace")
        ) from error


class OpenAIDecoder(EventStreamDecoder):
    """Chunks of one stream. Finished at `[DONE]` or, since some servers never send it, once every choice seen has finished."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: dict[int, ChoiceReader] = {}

    def on_event(self, name: bytes, data: bytes) -> Chunk | None:
        if data == b"[DONE]":
            self.is_finished = self.is_done = True
            return None
        event = self.parse(data)
        if event is None:
            return None
        if (error := failures.inside(event, data)) is not None:
            raise error
        upstream_id = _word(event.get("id"))
        given = event.get("choices") or ()
        known = len(self._readers)
        choices = [self._reader(choice, place, upstream_id).read(choice, "delta") for place, choice in enumerate(given)]
        if len(self._readers) > known or any(choice["finish_reason"] is not None for choice in choices):
            # Also at a new choice: some send the choices of an answer one after the other.
            self.is_finished = all(reader.is_finished for reader in self._readers.values())
        reported = _reported(event, given)
        usage = counts.usage(reported) if reported else None
        extra = _extra(event)
        return Chunk(choices, usage, upstream_id, extra) if choices or usage or extra else None

    def _reader(self, choice: JSON, place: int, upstream_id: str | None) -> ChoiceReader:
        index = _index(choice, place)
        reader = self._readers.get(index)
        if reader is None:
            reader = self._readers[index] = ChoiceReader(index, upstream_id)
        return reader


def _index(choice: JSON, place: int) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else place


def _reported(event: JSON, choices: Any) -> Any:
    """The `usage` of an answer or event. Groq puts a stream's into `x_groq` (groq 1.7.0), Moonshot its into the choice."""
    if (reported := event.get("usage")) is not None:
        return reported
    if "x_groq" in event:
        return (event["x_groq"] or {}).get("usage")
    return next((choice["usage"] for choice in choices if "usage" in choice), None)


def _extra(event: JSON) -> JSON:
    """What has no home in the canonical form."""
    return {key: value for key, value in event.items() if key not in _OWN_KEYS and value is not None}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
