"""The shape that a canonical request must have before any dialect reads it. Pure.

`completions.schemas` lets unknown fields and free-form objects through; here is what every dialect relies on inside of them, so
that a malformed request is refused by name instead of failing somewhere inside. Null means "not given" everywhere. Fields that
are not named here may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_project.errors import InvalidRequest

_NAMES = {str: "a string", dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}

Shape = Any
"""A type, a list with the shape of its items, a mapping of fields to shapes, or a tuple of alternatives. A field whose name ends in
"!" must be given."""

_LINK: Shape = (str, {"url!": str})
_CALL: Shape = {"id": str, "type": str, "function": {"name": str, "arguments": (str, dict)}, "custom": dict}
_MESSAGE: Shape = {
    "role!": str,
    "name": str,
    "tool_call_id": str,
    "tool_calls": [_CALL],
    "function_call": {"name": str, "arguments": (str, dict)},
    "reasoning": str,
    "reasoning_content": str,
    "reasoning_details": [{"type": str, "text": str, "data": str, "summary": str, "signature": str, "id": str}],
    "refusal": str,
    "images": [{"image_url!": _LINK}],
    "audio": {"id": str, "data": str, "transcript": str},
    "annotations": [dict],
    "cache_control": dict,
}
_PARTS: Mapping[str, Shape] = {
    "text": {"text!": str},
    "image_url": {"image_url!": _LINK},
    "input_audio": {"input_audio!": {"data!": str, "format": str}},
    "file": {"file!": {"file_data": str, "filename": str, "file_id": str}},
    "video_url": {"video_url!": _LINK},
    "input_video": {"video_url!": _LINK},
    "refusal": {"refusal!": str},
}
_FUNCTION: Shape = {"name!": str, "description": str, "parameters": dict, "strict": bool}
_TOOL: Shape = {"type!": str, "function": _FUNCTION, "cache_control": dict, "parameters": dict}
_REQUEST: Shape = {
    "tool_choice": (str, {"type!": str, "function": {"name!": str}}),
    "response_format": {"type!": str, "json_schema": {"name": str, "schema": dict, "strict": bool}},
    "plugins": [{"id!": str, "enabled": bool}],
    "provider": {"options": dict},
    "prediction": {"type": str},
    "audio": {"voice": (str, dict), "format": str},
    "image_config": dict,
    "web_search_options": dict,
    "cache_control": dict,
    "chat_template_kwargs": dict,
    "service_tier": str,
    "verbosity": str,
}


def check(chat: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` naming the first field of `chat` that is not what it must be."""
    for position, message in enumerate(chat["messages"]):
        field = f"messages[{position}]"
        _check(message, _MESSAGE, field)
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            _check_content(content, f"{field}.content")
    for position, tool in enumerate(chat.get("tools") or ()):
        _check(tool, _TOOL, f"tools[{position}]")
        if tool["type"] == "function" and tool.get("function") is None:
            raise InvalidRequest(f"tools[{position}].function is missing")
    for key, shape in _REQUEST.items():
        if key in chat:
            _check(chat[key], shape, key)
    for slug, options in ((chat.get("provider") or {}).get("options") or {}).items():
        _check(options, dict, f"provider.options.{slug}")


def _check_content(content: Any, field: str) -> None:
    if not isinstance(content, list):
        raise InvalidRequest(f"{field} must be a string or a list of parts, not {_name(content)}")
    for position, part in enumerate(content):
        _check(part, {"type!": str, "cache_control": dict}, f"{field}[{position}]")
        _check(part, _PARTS.get(part["type"], dict), f"{field}[{position}]")


def _check(value: Any, wanted: Shape, field: str) -> None:
    if value is None:
        return
    alternatives = wanted if isinstance(wanted, tuple) else (wanted,)
    shape: Shape = next((kind for kind in alternatives if _is(value, kind)), alternatives[0])
    if not _is(value, shape):
        raise InvalidRequest(f"{field} must be {_NAMES[_type(shape)]}, not {_name(value)}")
    if isinstance(shape, list):
        for position, item in enumerate(value):
            if item is None:
                raise InvalidRequest(f"{field}[{position}] must not be null")
            _check(item, shape[0], f"{field}[{position}]")
    elif isinstance(shape, dict):
        for key, inner in shape.items():
            name = key.rstrip("!")
            given = value.get(name)
            if given is not None:
                if given.__class__ is not inner:
                    _check(given, inner, f"{field}.{name}")
            elif name != key:
                raise InvalidRequest(f"{field}.{name} is missing")


def _is(value: Any, shape: Shape) -> bool:
    return isinstance(value, _type(shape))


def _type(shape: Shape) -> type:
    return shape if isinstance(shape, type) else type(shape)


def _name(value: Any) -> str:
    return "null" if value is None else _NAMES.get(type(value), f"{type(value).__name__}")
