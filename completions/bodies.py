"""JSON bodies of requests: read, checked against what they may look like, and what is wrong with them as errors of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from django.http import HttpRequest
from pydantic import BaseModel, ValidationError

from completions import breadth, complaints
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
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "")
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            f"Content-Encoding {encoding[:100]!r} is not taken; send the body uncompressed, without Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )
    if not request.body:
        raise InvalidRequest("The body is empty; send a JSON object")
    breadth.refuse_too_many_values(request.body)
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {complaints.name_of(body)}")
    request.json_body = body  # type: ignore[attr-defined]
    return body


def checked(model: type[Checked], body: Mapping[str, Any]) -> Checked:
    """`body` as a `model`. Raises as `refusal` says."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False)) from error


def refusal(problems: Sequence[Mapping[str, Any]]) -> GatewayError:
    """Wrong shapes are 400, values out of their range 422; the message names the first field, metadata all."""
    by_path: dict[str, list[Mapping[str, Any]]] = {}
    for problem in problems:
        by_path.setdefault(_path(problem["loc"]), []).append(problem)
    told = [
        {"path": path, "message": complaints.say(problem), "type": problem["type"]}
        for path, found in by_path.items()
        for problem in found
    ]
    # Of a union's complaints the one that got furthest is the one that helps.
    path, found = max(by_path.items(), key=lambda item: len(item[0]))
    first, *others = sorted(found, key=lambda problem: problem["type"] not in RANGE_ERRORS)
    is_range = all(problem["type"] in RANGE_ERRORS for problem in problems)
    message = complaints.say(first, others)
    if path:
        message = f"{path}: {message}"
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
