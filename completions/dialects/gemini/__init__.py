"""The Gemini dialect: Google's native `generateContent` and `streamGenerateContent?alt=sse`, API version v1beta.

Facts come from google-genai 3.4.0 and ai.google.dev, read November 2026, unless a comment says otherwise.

Differs from OpenAI in:
- *Authentication*: header `x-goog-api-key`; a key is never part of a URL. A bad key is a 400.
- *Messages*: `contents` of parts with the roles user and model; `systemInstruction` apart (rules in `contents`).
- *Media*: `inlineData` and `fileData` with a media type (rules in `media`).
- *Tools*: arguments and results are objects, results refer to calls by name and id. Calls before Gemini 3 have no ids; they
  get one made from their place in the answer. `strict` on any function switches mode VALIDATED on.
- *Thoughts*: parts of their own, signatures on any part; both travel in `reasoning_details` (rules in `thoughts`).
- *Search*: `web_search`, its plugin and `web_search_options` become `googleSearch`, `web_fetch` becomes `urlContext`.
- *Finish*: STOP also after tool calls; a refused prompt is an HTTP 200 without candidates; a malformed call ends an answer.
- *Stream*: no end mark, usage in every event, tool calls whole; errors as an event with HTTP status inside.
- *Usage*: thoughts beside the answer, cached tokens inside the prompt (rules in `tokens`).
- *Structured output*: `responseJsonSchema`; JSON Schema nearly as it is (rules in `schema`).

Ignored, because Google has nothing like it and an answer without is still an answer: `logit_bias`, `min_p`, `top_a`,
`repetition_penalty`, `prediction`, `verbosity`, `parallel_tool_calls`, `user`, `metadata`, `cache_control` and
`prompt_cache_key` (Google caches prefixes by itself), `top_logprobs` without `logprobs`, `name` of
`response_format.json_schema`, `image_config` beyond aspect ratio and size, service tiers other than flex and priority, and
every field nobody knows (Google answers 400 to unknown ones). `temperature`, `top_p` and `top_k` are left out for models that
no longer take them, `reasoning` for models that cannot think.

Refused with `InvalidRequest`: response formats, tool types, audio formats and files that Gemini cannot take, results of calls
that were not made, and a choice of a tool that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import orjson

from catalog.entries import AdapterEntry, DialectName, ProviderEntry
from completions.dialects.base import Completion, Dialect, Encoded
from completions.dialects.gemini import answer, failure, request
from completions.dialects.gemini.answer import GeminiDecoder
from completions.dialects.gemini.generation import Generation
from gateway_project.errors import ProviderError


class Gemini(Dialect):
    name: ClassVar[DialectName] = DialectName.GEMINI

    def path(self, adapter: AdapterEntry, *, stream: bool) -> str:
        model = adapter.upstream_model
        resource = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
        return f"/{quote(resource)}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"

    def headers(self, provider: ProviderEntry, secret: str | None) -> dict[str, str]:
        headers = {"content-type": "application/json", **provider.extra_headers}
        if secret:
            headers["x-goog-api-key"] = secret
        return headers

    def write(self, chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> Encoded:
        return Encoded(orjson.dumps(request.build(chat, adapter)))

    def decode(self, body: bytes, adapter: AdapterEntry) -> Completion:
        return answer.decode(body, Generation.of(adapter.upstream_model))

    def decoder(self, adapter: AdapterEntry) -> GeminiDecoder:
        return GeminiDecoder(Generation.of(adapter.upstream_model))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return failure.error(status, headers, body)
