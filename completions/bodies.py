"""JSON bodies of requests: read, checked against what they may look like, and what is wrong with them as errors of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from django.http import HttpRequest
from pydantic import BaseModel, ValidationError

from gateway_project.errors import GatewayError, InvalidRequest, Unprocessable, UnsupportedMediaType

Checked = TypeVar("Checked", bound=BaseModel)

RANGE_ERRORS = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "too_long", "too_short", "string_too_long",
     "string_too_short", "multiple_of", "finite_number"}
)  # fmt: skip
_MEMBERS = frozenset({"str", "float", "int", "bool", "Message", "Part"})
"""Steps of pydantic's locations that name a member of a union, not a field."""


def read(request: HttpRequest) -> dict[str, Any]:
    """The JSON object in the body; also kept as `request.json_body`, so that a refused request can be recorded.

    Raises `UnsupportedMediaType` and `InvalidRequest`.
    """
    content_type = request.META.get("CONTENT_TYPE", "")
    if content_type and "json" not in content_type:
        raise UnsupportedMediaType(f"Content-Type {content_type[:100]!r} is not taken; send Content-Type: application/json")
    if not request.body:
        raise InvalidRequest("The body is empty; send a JSON object")
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {type(body).__name__}")
    request.json_body = body  # type: ignore[attr-defined]
    return body


def checked(model: type[Checked], body: Mapping[str, Any]) -> Checked:
    """`body` as a `model`. Raises as `refusal` says."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_context=False)) from error


def refusal(problems: Sequence[Mapping[str, Any]]) -> GatewayError:
    """Wrong shapes are 400, values out of their range 422; the message names the first field, metadata all."""
    told = [{"path": _path(problem["loc"]), "message": problem["msg"], "type": problem["type"]} for problem in problems]
    # Of a union's complaints the one that got furthest is the one that helps.
    first = max(told, key=lambda problem: len(problem["path"]))
    is_range = all(problem["type"] in RANGE_ERRORS for problem in told)
    message = first["message"].removeprefix("Value error, ")
    if first["path"]:
        message = f"{first['path']}: {message}"
    kind = Unprocessable if is_range else InvalidRequest
    return kind(message, metadata={"errors": told[:20]})


def _path(location: Sequence[int | str]) -> str:
    """`messages[0].role` from pydantic's location."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier() and step not in _MEMBERS:
            path += f".{step}" if path else step
    return path
