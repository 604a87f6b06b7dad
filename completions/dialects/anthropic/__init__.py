"""The Anthropic dialect: the Messages API (`POST /v1/messages`) and its event stream.

`request` puts a body together, `answer` and `stream` read what comes back, `failures` what goes wrong; each of the modules
below them says its own part of the rules. What a model's generation takes is in `abilities`.

Differs from OpenAI in:
- Messages (`turns`, `parts`): system apart, alternating turns, results of tools in the user's turn, images and documents with
  a source. Audio and video in, and images or audio in the assistant's own messages, are refused by name.
- `max_tokens` is required: the caller's, else the adapter's longest output, else 4096.
- `temperature` ends at 1 (greater ones are lowered to it), `top_p` is ignored beside it, and models since Claude 4.7 take
  neither, nor `top_k`: ignored there, and while thinking.
- Ignored, for Anthropic has nothing like them (OpenRouter ignores what a provider does not support, unless
  `provider.require_parameters`): `seed`, `logprobs`, `top_logprobs`, `logit_bias`, `frequency_penalty`, `presence_penalty`,
  `repetition_penalty`, `min_p`, `top_a`, `prediction`, `image_config`, `metadata`, `configuration_update` of a message, a
  tool's `strict` before Claude 4.5. Also every other field, among them OpenRouter's own for routing, sessions and plugins,
  which are the gateway's business; but the web plugin asks for Anthropic's web search (`tools`).
- Refused by name: `n` above 1, `modalities` beyond text, `audio`, `response_format` of a grammar, a `service_tier` that
  Anthropic does not sell, a stop sequence of white space.
- `user` is `metadata.user_id`, `stop` is `stop_sequences`; `service_tier` "default" is "standard_only".
- `response_format` json_schema is `output_config.format`; JSON without a schema is asked for in words (`request`).
- Reasoning is `thinking` with a budget or with an effort (`thinking`); its blocks come back signed (`details`).
- Caching is asked for by `cache_control`, at most four times (`caching`).
- Usage excludes the cache from the input (`counts`). Billing and usage limits of our account are 400s (`failures`).

The API version is 2023-06-01. The newer 2026-10-21 only takes away: sampling parameters are refused for every model there,
also for those that still obey them (platform.claude.com/docs/en/api/versioning, read November 2026). Everything said here is
out of beta, so no request needs an `anthropic-beta` header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from catalog.entries import AdapterEntry, DialectName, ProviderEntry
from completions.dialects.anthropic import answer, failures, request
from completions.dialects.anthropic.stream import AnthropicDecoder
from completions.dialects.base import Completion, Dialect, Encoded
from gateway_project.errors import ProviderError

API_VERSION = "2023-06-01"


class Anthropic(Dialect):
    name: ClassVar[DialectName] = DialectName.ANTHROPIC

    def path(self, adapter: AdapterEntry, *, stream: bool) -> str:
        return "/messages"

    def headers(self, provider: ProviderEntry, secret: str | None) -> dict[str, str]:
        headers = {"content-type": "application/json", "anthropic-version": API_VERSION, **provider.extra_headers}
        if secret:
            headers["x-api-key"] = secret
        return headers

    def write(self, chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> Encoded:
        return Encoded(orjson.dumps(request.build(chat, adapter, stream=stream)))

    def decode(self, body: bytes, adapter: AdapterEntry) -> Completion:
        return answer.decode(body)

    def decoder(self, adapter: AdapterEntry) -> AnthropicDecoder:
        return AnthropicDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return failures.over_http(status, headers, body)
