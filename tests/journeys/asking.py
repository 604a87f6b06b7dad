"""How journeys ask a gateway, and read what it streams."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.live import Gateway


@dataclass(frozen=True, slots=True)
class Streamed:
    """A streamed answer, whole: its comments, its chunks, and whether `[DONE]` was the last event."""

    status: int
    headers: httpx.Headers
    comments: list[str]
    chunks: list[dict[str, Any]]
    is_done: bool

    @classmethod
    def parse(cls, status: int, headers: httpx.Headers, text: str) -> Streamed:
        """Strictly: every block is one comment or one `data:` line, and nothing follows `[DONE]`."""
        comments, data = [], []
        assert text.endswith("\n\n"), f"the last event does not end: {text[-80:]!r}"
        for block in text[:-2].split("\n\n"):
            assert "\n" not in block, f"not one line: {block!r}"
            if block.startswith(":"):
                comments.append(block)
            else:
                assert block.startswith("data: "), f"neither a comment nor data: {block!r}"
                data.append(block.removeprefix("data: "))
        is_done = data[-1:] == ["[DONE]"]
        chunks = [json.loads(event) for event in (data[:-1] if is_done else data)]
        return cls(status, headers, comments, chunks, is_done)

    @property
    def text(self) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas())

    def deltas(self, index: int = 0) -> list[dict[str, Any]]:
        """The deltas of one choice, in order."""
        return [choice["delta"] for chunk in self.chunks for choice in chunk["choices"] if choice["index"] == index]


@dataclass(frozen=True, slots=True)
class Asker:
    """Chat requests to one gateway, each with `marker` as `user` and a short default message."""

    gateway: Gateway
    marker: str
    prefix: str = "/v1"
    key: str | None = None

    def body(self, model: str, **more: Any) -> dict[str, Any]:
        return {"model": model, "messages": [{"role": "user", "content": "one two three"}], "user": self.marker, **more}

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def chat(self, model: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        """One request that does not stream."""
        url = f"{self.prefix}/chat/completions"
        return self.gateway.client.post(url, json=self.body(model, **more), headers={**self.headers(), **(headers or {})})

    def stream(self, model: str, **more: Any) -> Streamed:
        """One streamed request, read to its end. Fails if the gateway answers with an HTTP error."""
        response = self.chat(model, stream=True, **more)
        assert response.status_code == 200, response.text
        return Streamed.parse(response.status_code, response.headers, response.text)

    def row(self, within_s: float = 5) -> dict[str, Any]:
        """The one row that this test's requests have left in `api_logs`."""
        return self.gateway.row(within_s, user_id=self.marker)
