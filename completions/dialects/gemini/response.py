"""Google's candidates as canonical choices. Pure.

`CandidateReader` reads one candidate, whole or piece by piece, and remembers what spans pieces: how many calls and images it
has seen, and the text that citations point into. What has no canonical home (executed code, safety ratings, the grounding as
Google sent it ...) is given apart, to be published under `google`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from completions.dialects.base import JSON
from completions.dialects.gemini import citations, thoughts

FINISH_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    # The answer is not complete; Google would go on for its continuationToken, which is published under `google`.
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "ESCALATION", "PUP_LIMITED_DISABLED", "MODEL_ARMOR",
        ),
        "content_filter",
    ),
}  # fmt: skip
"""Every other reason (OTHER, MALFORMED_FUNCTION_CALL, NO_IMAGE, and what Google may add) is an `error`: the enum of google-genai
3.4.0, November 2026."""

_READ = frozenset({"content", "finishReason", "index", "logprobsResult"})


class CandidateReader:
    """Reads candidate number `index` of the answer `response_id`."""

    def __init__(self, index: int, response_id: str) -> None:
        self._index = index
        self._response_id = response_id
        self._text: list[str] = []
        self._calls = 0
        self._images = 0
        self._details = -1
        self._is_thinking = False
        self._cited: set[bytes] = set()

    def read(self, candidate: Mapping[str, Any]) -> tuple[JSON, JSON]:
        """The canonical choice with its `delta`, and what of `candidate` has no canonical home."""
        delta: JSON = {"role": "assistant", "content": ""}
        unread = [part for part in (candidate.get("content") or {}).get("parts") or () if not self._read_part(part, delta)]
        text = "".join(self._text) if "groundingMetadata" in candidate or "citationMetadata" in candidate else ""
        if fresh := self._fresh(citations.cited(candidate, text)):
            delta["annotations"] = fresh
        native = candidate.get("finishReason")
        finish = self._finish_reason(native)
        choice: JSON = {"index": self._index, "delta": delta, "finish_reason": finish, "native_finish_reason": native}
        if said := candidate.get("logprobsResult"):
            choice["logprobs"] = _logprobs(said)
        self._explain(choice, candidate.get("finishMessage"))
        extra = {key: value for key, value in candidate.items() if key not in _READ}
        if unread:
            extra["parts"] = unread
        return choice, {"index": self._index, **extra} if extra else {}

    def _read_part(self, part: Mapping[str, Any], delta: JSON) -> bool:
        """Put `part` into `delta`; False if it has no place there."""
        signature = part.get("thoughtSignature")
        if part.get("thought") and "text" in part:
            self._think(part["text"], signature, delta)
            return True
        self._is_thinking = False
        carrier: str | None = None
        if "text" in part:
            delta["content"] += part["text"]
            self._text.append(part["text"])
        elif "functionCall" in part:
            carrier = self._call(part["functionCall"], delta)
        elif "toolCall" in part or "toolResponse" in part:
            delta.setdefault("reasoning_details", []).append(thoughts.server_tool(part, self._next_detail()))
            return True
        elif not part.get("thought") and (media := _media(part)) is not None:
            carrier = self._show(*media, delta)
        else:
            return False
        if signature:
            delta.setdefault("reasoning_details", []).append(thoughts.signed(signature, self._next_detail(), carrier))
        return True

    def _think(self, text: str, signature: str | None, delta: JSON) -> None:
        """A run of thoughts is one item, so that clients put its pieces together again; a signature ends it."""
        index = self._details if self._is_thinking else self._next_detail()
        self._is_thinking = not signature
        delta["reasoning"] = delta.get("reasoning", "") + text
        details = delta.setdefault("reasoning_details", [])
        if details and details[-1]["index"] == index:
            text = details.pop()["text"] + text
        details.append(thoughts.thought(text, signature, index))

    def _next_detail(self) -> int:
        self._details += 1
        return self._details

    def _call(self, call: Mapping[str, Any], delta: JSON) -> str:
        arguments = orjson.dumps(call.get("args") or {}).decode()
        name = call.get("name") or ""
        call_id = call.get("id") or self._call_id(name, arguments)
        function = {"name": name, "arguments": arguments}
        delta.setdefault("tool_calls", []).append(
            {"index": self._calls, "id": call_id, "type": "function", "function": function}
        )
        self._calls += 1
        return str(call_id)

    def _call_id(self, name: str, arguments: str) -> str:
        """An id for a call that Google gave none (before Gemini 3): the same for the same place in the same answer."""
        place = "\0".join((self._response_id, str(self._index), str(self._calls), name, arguments))
        return "call_" + hashlib.blake2b(place.encode(), digest_size=12).hexdigest()

    def _show(self, media_type: str, url: str, delta: JSON) -> str | None:
        if media_type.startswith("audio/"):
            data = url.partition(",")[2]
            audio = delta.setdefault(
                "audio", {"id": f"audio_{self._response_id}_{self._index}", "data": "", "transcript": ""}
            )
            audio["data"] = _joined(audio["data"], data)
            audio["mime_type"] = media_type  # Raw PCM: without its rate nobody could play it.
            return None
        position = self._images
        self._images += 1
        delta.setdefault("images", []).append({"type": "image_url", "image_url": {"url": url}, "index": position})
        return thoughts.image_id(position)

    def _fresh(self, found: list[JSON]) -> list[JSON]:
        """Citations that were not given before: Google repeats them in every later piece."""
        fresh = []
        for annotation in found:
            key = orjson.dumps(annotation)
            if key not in self._cited:
                self._cited.add(key)
                fresh.append(annotation)
        return fresh

    def _finish_reason(self, native: str | None) -> str | None:
        if native is None:
            return None
        finish = FINISH_REASONS.get(native, "error")
        return "tool_calls" if finish == "stop" and self._calls else finish

    def _explain(self, choice: JSON, why: str | None) -> None:
        """Say why an answer was cut off: `error` for a fault of the model, `refusal` where nothing else was said."""
        native = choice["native_finish_reason"]
        if choice["finish_reason"] == "error":
            message = why or f"Google stopped the answer: {native}"
            choice["error"] = {"code": 502, "message": message, "metadata": {"error_type": "provider_unavailable"}}
        elif choice["finish_reason"] == "content_filter" and not any((self._text, self._calls, self._images)):
            choice["delta"]["refusal"] = why or f"Google withheld the answer: {native}"


def whole(choice: JSON) -> JSON:
    """The choice of an answer that came in one piece: its delta as a message."""
    said = choice["delta"]
    message = {"role": "assistant", "content": said["content"] or None, "refusal": None, "reasoning": None, **said}
    message["content"] = said["content"] or None
    for call in message.get("tool_calls", ()):
        del call["index"]
    if "audio" in message:
        message["audio"] = {**message["audio"], "expires_at": 0}
    rest = {key: value for key, value in choice.items() if key not in ("index", "delta")}
    return {"index": choice["index"], "message": message, "logprobs": None, **rest}


def _media(part: Mapping[str, Any]) -> tuple[str, str] | None:
    """Type and URL of an image or a sound in `part`, None if it holds neither."""
    inline, linked = part.get("inlineData") or {}, part.get("fileData") or {}
    media_type = inline.get("mimeType") or linked.get("mimeType") or ""
    if media_type.startswith("image/"):
        return media_type, linked.get("fileUri") or f"data:{media_type};base64,{inline.get('data') or ''}"
    if media_type.startswith("audio/") and inline:
        return media_type, f"data:{media_type};base64,{inline.get('data') or ''}"
    return None


def _joined(first: str, second: str) -> str:
    """Two base64 texts as one."""
    return second if not first else base64.b64encode(base64.b64decode(first) + base64.b64decode(second)).decode()


def _logprobs(result: Mapping[str, Any]) -> JSON:
    chosen, tops = result.get("chosenCandidates") or (), result.get("topCandidates") or ()
    content = []
    for position, token in enumerate(chosen):
        others = (tops[position].get("candidates") or ()) if position < len(tops) else ()
        content.append({**_token(token), "top_logprobs": [_token(other) for other in others]})
    return {"content": content, "refusal": None}


def _token(token: Mapping[str, Any]) -> JSON:
    text = token.get("token") or ""
    return {"token": text, "logprob": token.get("logProbability") or 0.0, "bytes": list(text.encode())}
