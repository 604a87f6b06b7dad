"""The OpenAI dialect: Chat Completions, as OpenAI and everyone compatible with it speak it.

The canonical form is this dialect plus OpenRouter's additions, so a request passes through: what a provider is not known to
differ in goes to it as it came, fields that nobody here has heard of included. Where a provider differs, a flag of its row
says so (`catalog.entries.Quirks`), and `catalog/providers.yaml` says for whom and since when.

Rewritten for everyone:
- `model`, `stream`; `stream_options` asks for usage where it may (`accepts_stream_options`); `max_tokens` under the name that
  the provider has for it; fields that it calls otherwise (`field_names`).
- `reasoning` in the provider's words (`reasoning`), earlier reasoning as far as it wants to see it again (`messages`).
- In messages: arguments of calls as text and without `index`, an image given as a bare URL as an object, `input_video` as
  `video_url`, an `audio` of the assistant as its id, which is all that OpenAI takes back.
- `provider.options.<slug>` is merged into the body, and wins, but cannot change what is routed and charged for (`request`).
- `extra_body` of the provider is sent along where the request says nothing of the kind.

Left out by rule:
- OpenRouter's own fields (`request.ROUTER_FIELDS`) and `model`, `annotations`, `images` of earlier messages, unless the
  provider is another OpenRouter. To that one all of them go, but what names our providers (`models`, `route`, `preset`,
  and of `provider` the lists `order`, `only`, `ignore` and the `options`): there they would name others.
- `cache_control` and `prompt_cache_breakpoint`, unless `accepts_cache_control`: others refuse them or cache by themselves.
- Where `accepts_unknown_fields` is off: fields that are neither OpenAI's nor in `field_names`, also those of messages, calls and
  tools. OpenRouter ignores what a provider does not support, unless `provider.require_parameters` (openrouter.md 1).
- What `field_names` names with null.

Said otherwise: a `json_schema` to a provider without (`accepts_json_schema`) is asked for in words, `strict` included.

Refused with `InvalidRequest`: parts that are no text to a provider that takes text only, OpenRouter's server tools
(`openrouter:…`) to anyone else, and what is nested too deeply to be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import orjson

from catalog.entries import AdapterEntry, DialectName, ProviderEntry
from completions.dialects.base import Completion, Dialect, Encoded
from completions.dialects.openai import answer, failures, request
from completions.dialects.openai.answer import OpenAIDecoder
from gateway_project.errors import ProviderError


class OpenAI(Dialect):
    name: ClassVar[DialectName] = DialectName.OPENAI

    def path(self, adapter: AdapterEntry, *, stream: bool) -> str:
        version = adapter.provider.quirks.api_version
        return "/chat/completions" + (f"?api-version={quote(version)}" if version else "")

    def headers(self, provider: ProviderEntry, secret: str | None) -> dict[str, str]:
        headers = {"content-type": "application/json", **provider.extra_headers}
        if secret:
            name = provider.quirks.auth_header.lower()
            headers[name] = f"Bearer {secret}" if name == "authorization" else secret
        return headers

    def write(self, chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> Encoded:
        return Encoded(orjson.dumps(request.build(chat, adapter, stream=stream)))

    def decode(self, body: bytes, adapter: AdapterEntry) -> Completion:
        return answer.decode(body)

    def decoder(self, adapter: AdapterEntry) -> OpenAIDecoder:
        return OpenAIDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return failures.over_http(status, headers, body)
