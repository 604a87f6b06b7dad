"""Messages as Anthropic's `system` and alternating turns. Pure.

Differs from OpenAI in:
- Leading system and developer messages become `system`, in order. A later one stays in its place: as a system turn where the
  model takes them and Anthropic allows one (after a user turn, before an assistant turn or at the end), otherwise as
  `<system-reminder>` text in a user turn, which is Anthropic's own advice for such models
  (github.com/anthropics/skills, skills/claude-api/shared/prompt-caching.md, read November 2026).
- Neighbours of one role are one turn; tool messages are `tool_result` blocks, which come first in their user turn.
- The first turn is the user's: where it is not, a turn with a full stop is put before it.
- Messages without content are left out, trailing white space of a final assistant message too (both are 400s).
- Of an assistant message `reasoning`, `annotations` and `name` are ignored: only signed `reasoning_details` can be sent back.
  A refusal is sent as the text it was.
- A tool message is an error result where it carries `is_error: true`; OpenAI's form has no word for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from completions.dialects.anthropic import caching, details, parts
from completions.dialects.anthropic.abilities import Abilities
from completions.dialects.base import JSON
from gateway_project.errors import InvalidRequest

OPENING = "."
INVALID_JSON = "INVALID_JSON"
"""Under this key arguments that are no JSON object are sent back, as Anthropic's page on fine-grained tool streaming says."""

_SYSTEM = ("system", "developer")
_REFUSED_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")


def build(messages: Sequence[JSON], abilities: Abilities) -> tuple[list[JSON], list[JSON]]:
    """The `system` blocks and the turns of `messages`. Raises `InvalidRequest` naming what cannot be said."""
    system: list[JSON] = []
    turns: list[JSON] = []
    for position, message in enumerate(messages):
        role, blocks = _turn(message, f"messages[{position}]")
        if role == "system" and not turns:
            system += blocks
        elif blocks:
            _append(turns, role, blocks)
    turns = _place_system_turns(turns, abilities)
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
    for turn in turns:
        if turn["role"] == "user":
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    _trim_end(turns)
    return system, turns


def _turn(message: JSON, field: str) -> tuple[str, list[JSON]]:
    role = message.get("role")
    if role in _SYSTEM:
        blocks = parts.texts(message.get("content"), f"{field}.content")
        role = "system"
    elif role == "user":
        blocks = parts.blocks(message.get("content"), f"{field}.content")
    elif role == "assistant":
        blocks = _assistant(message, field)
    elif role == "tool":
        role, blocks = "user", [_tool_result(message, field)]
    else:
        raise InvalidRequest(f"{field}.role is {role!r}; Anthropic takes system, developer, user, assistant and tool.")
    caching.mark_last(blocks, message, field)
    return role, blocks


def _append(turns: list[JSON], role: str, blocks: list[JSON]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _assistant(message: JSON, field: str) -> list[JSON]:
    for unsayable in ("images", "audio"):
        if message.get(unsayable):
            raise InvalidRequest(
                f"{field}.{unsayable}: Anthropic takes only text and tool calls from the assistant; "
                "send it in a user message instead."
            )
    content = message.get("content")
    placed = details.blocks(message.get("reasoning_details"))
    if isinstance(content, str):
        blocks = _interleave(content, placed)
    else:
        blocks = [block for _, block in placed] + parts.blocks(content, f"{field}.content")
    if isinstance(message.get("refusal"), str) and not any(block["type"] == "text" for block in blocks):
        blocks += parts.blocks(message["refusal"], f"{field}.refusal")
    for position, call in enumerate(message.get("tool_calls") or ()):
        blocks.append(_tool_use(call, f"{field}.tool_calls[{position}]"))
    return blocks


def _interleave(text: str, placed: list[details.Placed]) -> list[JSON]:
    """`text` cut where a block stood in the answer that it comes from."""
    blocks: list[JSON] = []
    done = 0
    for offset, block in placed:
        blocks += parts.blocks(text[done:offset], "content")
        done = max(done, offset)
        blocks.append(block)
    return blocks + parts.blocks(text[done:], "content")


def _tool_use(call: JSON, field: str) -> JSON:
    function = call.get("function")
    identifier = call.get("id")
    if not isinstance(function, dict) or not isinstance(identifier, str) or not identifier:
        raise InvalidRequest(f"{field} needs an id and a function with name and arguments.")
    return {
        "type": "tool_use",
        "id": _call_id(identifier),
        "name": function.get("name") or "",
        "input": _input(function.get("arguments")),
        **caching.of_part(call, field),
    }


def _input(arguments: Any) -> JSON:
    if isinstance(arguments, dict):
        return arguments
    text = arguments or "{}"
    try:
        value = orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {INVALID_JSON: text}


def _tool_result(message: JSON, field: str) -> JSON:
    identifier = message.get("tool_call_id")
    if not isinstance(identifier, str) or not identifier:
        raise InvalidRequest(f"{field}.tool_call_id is missing; give the id of the tool call that this answers.")
    content = message.get("content")
    result: JSON = {"type": "tool_result", "tool_use_id": _call_id(identifier)}
    if isinstance(content, str):
        result["content"] = content
    elif found := parts.blocks(content, f"{field}.content"):
        result["content"] = found
    if message.get("is_error") is True:
        result["is_error"] = True
    return result


def _call_id(identifier: str) -> str:
    """`identifier` in the characters Anthropic takes (`^[a-zA-Z0-9_-]+$`, else 400); ids of other providers have more."""
    return _REFUSED_IN_ID.sub(lambda found: f"_{ord(found[0]):x}_", identifier)


def _place_system_turns(turns: list[JSON], abilities: Abilities) -> list[JSON]:
    placed: list[JSON] = []
    for position, turn in enumerate(turns):
        role, blocks = turn["role"], turn["content"]
        if role == "system":
            follows_user = position > 0 and turns[position - 1]["role"] == "user"
            precedes_answer = position + 1 == len(turns) or turns[position + 1]["role"] == "assistant"
            if not (abilities.takes_system_turns and follows_user and precedes_answer):
                role, blocks = "user", [_reminder(block) for block in blocks]
        _append(placed, role, blocks)
    return placed


def _reminder(block: JSON) -> JSON:
    return {**block, "text": f"<system-reminder>\n{block['text']}\n</system-reminder>"}


def _trim_end(turns: list[JSON]) -> None:
    last = turns[-1]["content"][-1]
    if turns[-1]["role"] == "assistant" and last["type"] == "text":
        last["text"] = last["text"].rstrip()


def is_open_tool_loop_without_thinking(turns: Sequence[JSON]) -> bool:
    """Whether the turns end in tool results whose first call was made without a thinking block that could be sent along.

    With `thinking.type` "enabled" Anthropic answers 400 to such a conversation: "Expected `thinking` or
    `redacted_thinking`, but found `tool_use`" (seen 2025 and 2026; clients that drop `reasoning_details` cause it).
    """
    first_call: JSON | None = None
    for turn in reversed(turns):
        kinds = {block["type"] for block in turn["content"]}
        if turn["role"] == "user" and "tool_result" not in kinds:
            break
        if turn["role"] == "assistant":
            if "tool_use" not in kinds:
                break
            first_call = turn
    return first_call is not None and first_call["content"][0]["type"] not in ("thinking", "redacted_thinking")
