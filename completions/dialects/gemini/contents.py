"""The messages of a canonical request as Google's `contents` and `systemInstruction`. Pure.

Rules, where the two forms differ:
- System and developer messages before the first other message become `systemInstruction`, in order, one part per text.
  A later one stays in its place as a user turn: moved to the front it would apply to what was said before it and spoil
  the cached prefix. Where nothing but system messages came, they are the user's turn, since Google wants one.
- Neighbours of the same role become one content; results of tools stay apart from what the user says, because Google takes
  the first content with text for the beginning of the current turn.
- An assistant message that says nothing is left out. `name` and `annotations` are ignored; `refusal` and the transcript of
  an `audio` stand in for missing text.
- Arguments of a call that are no JSON object (models do err) travel as `{"arguments": "<as written>"}`.
- The result of a tool travels as the object it is, or as `{"output": "<text>"}` (google-genai 3.4.0 on `response`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from completions.dialects.base import JSON
from completions.dialects.gemini import media, thoughts
from completions.dialects.gemini.generation import Generation
from gateway_project.errors import InvalidRequest

_SYSTEM_ROLES = ("system", "developer")


def build(messages: Sequence[Mapping[str, Any]], generation: Generation) -> tuple[list[JSON], JSON | None]:
    """`contents`, and `systemInstruction` or None. Raises `InvalidRequest` naming the message that cannot be said."""
    contents: list[JSON] = []
    instruction: list[JSON] = []
    names: dict[str, str] = {}
    for position, message in enumerate(messages):
        field, role = f"messages[{position}]", message.get("role")
        if role in _SYSTEM_ROLES and not contents:
            instruction += _parts(message.get("content"), field)
        elif role in _SYSTEM_ROLES or role == "user":
            _append(contents, "user", _parts(message.get("content"), field) or [{"text": ""}])
        elif role == "assistant":
            names.update((call["id"], call["function"]["name"]) for call in _calls(message, field))
            _append(contents, "model", _assistant(message, generation, field))
        elif role == "tool":
            _append(contents, "user", _tool_result(message, names, generation, field))
        else:
            raise InvalidRequest(f"{field}.role {role!r} is unknown; use system, developer, user, assistant or tool")
    if not contents:
        return [{"role": "user", "parts": instruction or [{"text": ""}]}], None
    return contents, {"parts": instruction} if instruction else None


def _append(contents: list[JSON], role: str, parts: list[JSON]) -> None:
    if not parts:
        return
    last = contents[-1] if contents else None
    if last and last["role"] == role and ("functionResponse" in last["parts"][0]) == ("functionResponse" in parts[0]):
        last["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _parts(content: Any, field: str) -> list[JSON]:
    """The parts of `content`, a string or a list; what is empty is left out."""
    if not content:
        return []
    if isinstance(content, str):
        return [{"text": content}]
    found = (media.part(part, f"{field}.content[{index}]") for index, part in enumerate(content))
    return [part for part in found if part is not None]


def _calls(message: Mapping[str, Any], field: str) -> list[JSON]:
    calls = list(message.get("tool_calls") or ())
    for index, call in enumerate(calls):
        if not call.get("id") or not (call.get("function") or {}).get("name"):
            raise InvalidRequest(f"{field}.tool_calls[{index}] needs an id and function.name")
    return calls


def _assistant(message: Mapping[str, Any], generation: Generation, field: str) -> list[JSON]:
    spoken = message.get("content") or message.get("refusal") or (message.get("audio") or {}).get("transcript")
    calls: list[JSON] = [
        {"functionCall": {"id": call["id"], "name": call["function"]["name"], "args": _arguments(call["function"])}}
        for call in _calls(message, field)
    ]
    images = [media.image(image, f"{field}.images[{index}]") for index, image in enumerate(message.get("images") or ())]
    details = thoughts.ours(message.get("reasoning_details"))
    parts = thoughts.spoken(details) + thoughts.sign(_parts(spoken, field), calls, images, details)
    if calls and generation.checks_signatures and not any("thoughtSignature" in call for call in calls):
        # A call that another model made, or a client that drops reasoning_details. Google documents this value for just
        # that (ai.google.dev/gemini-api/docs/thought-signatures, FAQ, read November 2026); without it the answer is 400.
        calls[0]["thoughtSignature"] = thoughts.UNSIGNED
    return parts


def _arguments(function: Mapping[str, Any]) -> JSON:
    written = function.get("arguments") or "{}"
    parsed = _object(written)
    return {"arguments": written} if parsed is None else parsed


def _object(text: Any) -> JSON | None:
    """The JSON object that `text` is, None if it is anything else."""
    if isinstance(text, dict):
        return text
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _tool_result(message: Mapping[str, Any], names: Mapping[str, str], generation: Generation, field: str) -> list[JSON]:
    """The result as `functionResponse`; media beside its text as `functionResponse.parts`, before Gemini 3 as parts after it."""
    call_id = message.get("tool_call_id") or ""
    name = names.get(call_id) or message.get("name")
    if not name:
        raise InvalidRequest(f"{field}.tool_call_id {call_id!r} names no call of an earlier assistant message")
    parts = _parts(message.get("content"), field)
    texts = [part["text"] for part in parts if "text" in part]
    others = [part for part in parts if "text" not in part]
    result = _object(texts[0]) if len(texts) == 1 else None
    if result is None:
        result = {"output": "\n".join(texts)}
    response: JSON = {"id": call_id, "name": name, "response": result}
    if others and generation.takes_media_in_tool_results:
        response["parts"] = others
        return [{"functionResponse": response}]
    return [{"functionResponse": response}, *others]
