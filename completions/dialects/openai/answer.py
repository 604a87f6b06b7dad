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
        if answer.get("error") or answer.get("object") == "error":
            raise failures.told(answer, body)
        raise ProviderUnavailable("Provider sent an answer without choices", raw=body[:4000].decode("utf-8", "replace"))
    upstream_id = _word(answer.get("id"))
    try:
        read = [
            ChoiceReader(_index(choice, place), upstream_id).read(choice, "message") for place, choice in enumerate(choices)
        ]
        return Completion(read, counts.usage(answer.get("usage")), upstream_id, _extra(answer))
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ProviderUnavailable(
            f"Provider sent an answer of unknown shape: {error}", raw=body[:4000].decode("utf-8", "replace")
        ) from error


class OpenAIDecoder(EventStreamDecoder):
    """Chunks of one stream. Finished once every choice seen has finished; some servers never send `[DONE]`.

    `[DONE]` alone finishes nothing: some servers leave the finish of a whole answer out
    (github.com/waybarrios/vllm-mlx/issues/628), but proxies also write it after an upstream that broke off
    (github.com/MAXeaglet/commandcode-proxy/issues/38). What tells these apart is the count of the whole answer, in a chunk
    without choices: an interrupted stream has none (OpenAI's reference of `stream_options`; vLLM sends it once generation
    has ended). All read November 2026.

    Groq puts a stream's usage into `x_groq` (groq 1.7.0, November 2026), Moonshot its into the last piece of the choice.
    """

    def __init__(self) -> None:
        super().__init__()
        self._readers: dict[int, ChoiceReader] = {}
        self._is_counted = False

    def on_event(self, name: bytes, data: bytes) -> Chunk | None:
        if data == b"[DONE]":
            return self._end()
        event = self.parse(data)
        if event is None:
            return None
        if event.get("error") or event.get("object") == "error":
            raise failures.told(event, data)
        upstream_id, reported, extra = _word(event.get("id")), event.get("usage"), _extra(event)
        choices = []
        for place, choice in enumerate(event.get("choices") or ()):
            reader = self._readers.get(choice.get("index")) or self._reader(choice, place, upstream_id)
            read = reader.read(choice, "delta")
            choices.append(read)
            if read["finish_reason"] is not None:
                self.is_finished = all(reader.is_finished for reader in self._readers.values())
                reported = reported or choice.get("usage")
        if reported is None and "x_groq" in extra:
            reported = extra["x_groq"].get("usage")
        usage = counts.usage(reported) if reported else None
        if usage is not None and not choices:
            self._is_counted = True
        return Chunk(choices, usage, upstream_id, extra) if choices or usage or extra else None

    def _end(self) -> Chunk | None:
        """What `[DONE]` means: the finish that was left out of an answer whose end has been counted, else nothing."""
        self.is_done = True
        if self.is_finished or not self._is_counted:
            return None
        self.is_finished = True
        left_open = [reader for reader in self._readers.values() if not reader.is_finished]
        choices = [
            {**reader.read({"finish_reason": "stop"}, "delta"), "native_finish_reason": None} for reader in left_open
        ]
        return Chunk(choices) if choices else None

    def _reader(self, choice: JSON, place: int, upstream_id: str | None) -> ChoiceReader:
        index = _index(choice, place)
        return self._readers.setdefault(index, ChoiceReader(index, upstream_id))


def _index(choice: JSON, place: int) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else place


def _extra(event: JSON) -> JSON:
    """What has no home in the canonical form."""
    if event.keys() <= _OWN_KEYS:  # Most events: a comparison of sets costs half of building an empty dict.
        return {}
    return {key: value for key, value in event.items() if key not in _OWN_KEYS and value is not None}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
