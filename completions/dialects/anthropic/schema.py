"""JSON Schema as Anthropic's structured outputs take it. Pure.

Differs from OpenAI's: every object must be closed (`additionalProperties: false`, else 400), and constraints on sizes and
numbers are refused. Objects that say nothing are closed, and constraints move into the description, where the model still
reads them, as Anthropic's own SDKs do (platform.claude.com/docs/en/build-with-claude/structured-outputs, JSON Schema
limitations, read November 2026).
"""

from __future__ import annotations

from typing import Any

import orjson

from completions.dialects.base import JSON

_CONSTRAINTS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
    "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
_HOLDS_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties")
_HOLDS_LIST = ("anyOf", "allOf", "oneOf", "prefixItems")
_HOLDS_SCHEMA = ("items", "not", "additionalProperties")


def restricted(schema: JSON) -> JSON:
    """A copy of `schema` in Anthropic's subset."""
    result: JSON = {}
    moved: list[str] = []
    for key, value in schema.items():
        if key in _CONSTRAINTS or (key == "minItems" and value not in (0, 1)):
            moved.append(f"{key}: {orjson.dumps(value).decode()}")
        else:
            result[key] = _inside(key, value)
    if moved:
        constraints = "{" + ", ".join(moved) + "}"
        said = result.get("description")
        result["description"] = f"{said}\n\n{constraints}" if said else constraints
    is_object = result.get("type") == "object" or "properties" in result
    if is_object and "additionalProperties" not in result:
        result["additionalProperties"] = False
    return result


def _inside(key: str, value: Any) -> Any:
    if key in _HOLDS_SCHEMAS and isinstance(value, dict):
        return {name: restricted(inner) if isinstance(inner, dict) else inner for name, inner in value.items()}
    if key in _HOLDS_LIST and isinstance(value, list):
        return [restricted(inner) if isinstance(inner, dict) else inner for inner in value]
    if key in _HOLDS_SCHEMA and isinstance(value, dict):
        return restricted(value)
    return value
