"""JSON schemas of tools and of structured output, so that Google takes them. Pure.

They travel as `parametersJsonSchema` and `responseJsonSchema`, which take JSON Schema as it is and ignore keywords they do not
know (google-genai 3.4.0, November 2026); the older `parameters` and `responseSchema` answer 400 to every unknown one. Three
things are rewritten without changing what a schema means: `$schema` goes, `const` becomes an `enum` of one (documented as
supported, `const` is not), and a `$ref` with siblings moves into `anyOf`, because beside `$ref` nothing but `$` keywords may
stand.
"""

from __future__ import annotations

from typing import Any

_NAMES_TO_SCHEMAS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_LITERALS = frozenset({"enum", "default", "examples", "required", "const"})


def acceptable(schema: Any) -> Any:
    """`schema` as Google takes it; a new value wherever something changes."""
    if isinstance(schema, list):
        return [acceptable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$schema":
            continue
        if key in _LITERALS:
            result[key] = value
        elif key in _NAMES_TO_SCHEMAS and isinstance(value, dict):
            result[key] = {name: acceptable(inner) for name, inner in value.items()}
        else:
            result[key] = acceptable(value)
    if "const" in result:
        result.setdefault("enum", [result.pop("const")])
    if "$ref" in result and any(not key.startswith("$") for key in result):
        reference = {"$ref": result.pop("$ref")}
        result["anyOf"] = [reference] if "anyOf" not in result else [{"allOf": [reference, {"anyOf": result["anyOf"]}]}]
    return result


def says_something(schema: Any) -> bool:
    """Whether `schema` names any parameter: a function without parameters is declared without a schema."""
    return isinstance(schema, dict) and bool(
        set(schema) - {"type", "properties", "required", "additionalProperties", "$schema"}
        or schema.get("properties")
        or schema.get("additionalProperties")
    )
