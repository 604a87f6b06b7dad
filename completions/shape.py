"""The shape that a canonical request must have before it is planned. Pure.

`completions.schemas` lets unknown fields and free-form objects through; here is what everything behind it relies on inside of
them, dialects above all. It is the same for every provider, so it is asked once per request, and nobody is called for a request
that does not have it: the caller is told the field. Null means "not given" everywhere. Fields that
are not named here may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from completions.complaints import name_of
from gateway_project.errors import InvalidRequest

_WANTED = {str: "a string", dict: "an object", list: "an array", bool: "true or false"}

Shape = Any
"""A type, a list with the shape of its items, `Fields`, or a tuple of alternatives."""


class Fields:
    """The shape of an object: shapes by field, written with a "!" behind the name of a field that must be given."""

    __slots__ = ("required", "shapes")

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.shapes = {name.rstrip("!"): _compiled(shape) for name, shape in shapes.items()}
        self.required = tuple(name.rstrip("!") for name in shapes if name.endswith("!"))


def _compiled(written: Shape) -> Shape:
    """`written` with `Fields` for mappings, however deep."""
    if isinstance(written, dict):
        return Fields(written)
    if isinstance(written, list):
        return [_compiled(written[0])]
    return tuple(map(_compiled, written)) if isinstance(written, tuple) else written


_LINK: Shape = (str, {"url!": str})
_CALL: Shape = {"id": str, "type": str, "function": {"name": str, "arguments": (str, dict)}, "custom": dict}
_MESSAGE = Fields(
    {
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
)
_PLAIN = frozenset({"role", "content"})
_PART = Fields({"type!": str, "cache_control": dict})
_PARTS: Mapping[str, Shape] = {
    kind: Fields(shape)
    for kind, shape in {
        "text": {"text!": str},
        "image_url": {"image_url!": _LINK},
        "input_audio": {"input_audio!": {"data!": str, "format": str}},
        "file": {"file!": {"file_data": str, "filename": str, "file_id": str}},
        "video_url": {"video_url!": _LINK},
        "input_video": {"video_url!": _LINK},
        "refusal": {"refusal!": str},
    }.items()
}
_FUNCTION: Shape = {"name!": str, "description": str, "parameters": dict, "strict": bool}
_TOOL = Fields({"type!": str, "function": _FUNCTION, "cache_control": dict, "parameters": dict})
_REQUEST = Fields(
    {
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
)


def check(chat: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` naming the first field of `chat` that is not what it must be."""
    for position, message in enumerate(chat["messages"]):
        if _is_plain(message):
            continue
        _check(message, _MESSAGE, "messages", position)
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            _check_content(content, f"messages[{position}].content")
    for position, tool in enumerate(chat.get("tools") or ()):
        _check(tool, _TOOL, "tools", position)
        if tool["type"] == "function" and tool.get("function") is None:
            raise InvalidRequest(f"tools[{position}].function is missing")
    for key in _REQUEST.shapes.keys() & chat.keys():
        _check(chat[key], _REQUEST.shapes[key], key)
    if chat.get("provider"):
        for slug, options in (chat["provider"].get("options") or {}).items():
            _check(options, dict, f"provider.options.{slug}")


def _is_plain(message: Any) -> bool:
    """Whether `message` is as most are: somebody's words and nothing else."""
    if not isinstance(message, dict) or message.keys() != _PLAIN:
        return False
    return isinstance(message["role"], str) and isinstance(message["content"], str)


def _check_content(content: Any, field: str) -> None:
    if not isinstance(content, list):
        raise InvalidRequest(f"{field} must be a string or an array of parts, not {name_of(content)}")
    for position, part in enumerate(content):
        _check(part, _PART, field, position)
        _check(part, _PARTS.get(part["type"], dict), field, position)


def _check(value: Any, wanted: Shape, field: str, position: int | None = None) -> None:
    """Raises `InvalidRequest` where `value`, which is `field` or its item at `position`, is not `wanted`."""
    if value is None or value.__class__ is wanted:
        return
    alternatives = wanted if isinstance(wanted, tuple) else (wanted,)
    shape: Shape = next((shape for shape in alternatives if isinstance(value, _type(shape))), None)
    if shape is None:
        raise InvalidRequest(f"{_path(field, position)} must be {_WANTED[_type(alternatives[0])]}, not {name_of(value)}")
    if isinstance(shape, Fields):
        _check_fields(value, shape, field, position)
    elif isinstance(shape, list):
        path = _path(field, position)
        for place, item in enumerate(value):
            if item is None:
                raise InvalidRequest(f"{path}[{place}] must not be null")
            _check(item, shape[0], path, place)


def _check_fields(value: Mapping[str, Any], shape: Fields, field: str, position: int | None) -> None:
    for name in shape.required:
        if value.get(name) is None:
            raise InvalidRequest(f"{_path(field, position)}.{name} is missing")
    shapes = shape.shapes
    for name, given in value.items():
        wanted = shapes.get(name)
        # Paths are put together for what is looked into, which most fields are not.
        if wanted is not None and given is not None and given.__class__ is not wanted:
            _check(given, wanted, f"{_path(field, position)}.{name}")


def _path(field: str, position: int | None) -> str:
    return field if position is None else f"{field}[{position}]"


def _type(shape: Shape) -> type:
    if isinstance(shape, Fields):
        return dict
    return shape if isinstance(shape, type) else type(shape)
