"""What pydantic holds against a JSON value, said in JSON's words: objects, arrays, strings and how large they may be. Pure.

A complaint is an entry of pydantic's `errors()`. Values of strings are never repeated: a key may have slipped into the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Complaint = Mapping[str, Any]

_INT64_MAX = 2**63 - 1
_NAMES = ((str, "a string"), (dict, "an object"), (list, "an array"))
_KINDS = {
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "datetime_type": "a date and time such as 2026-11-01T00:00:00Z",
    "datetime_parsing": "a date and time such as 2026-11-01T00:00:00Z",
    "datetime_from_date_parsing": "a date and time such as 2026-11-01T00:00:00Z",
    "date_type": "a date such as 2026-11-01",
    "date_parsing": "a date such as 2026-11-01",
    "date_from_datetime_parsing": "a date such as 2026-11-01",
}
_RULES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "literal_error": lambda rule: f"must be {rule['expected']}",
    "too_short": lambda rule: f"must have at least {_counted(rule['min_length'], 'item')}, not {rule['actual_length']}",
    "too_long": lambda rule: f"must have at most {_counted(rule['max_length'], 'item')}, not {rule['actual_length']}",
    "string_too_short": lambda rule: f"must have at least {_counted(rule['min_length'], 'character')}",
    "string_too_long": lambda rule: f"must have at most {_counted(rule['max_length'], 'character')}",
    "greater_than_equal": lambda rule: f"must be at least {_number(rule['ge'])}",
    "greater_than": lambda rule: f"must be more than {_number(rule['gt'])}",
    "less_than_equal": lambda rule: f"must be at most {_number(rule['le'])}",
    "less_than": lambda rule: f"must be less than {_number(rule['lt'])}",
}
_NUMBERS = frozenset({"greater_than_equal", "greater_than", "less_than_equal", "less_than"})


def say(complaint: Complaint, alternatives: Iterable[Complaint] = ()) -> str:
    """`complaint` as what follows the field's name. `alternatives`: what else was held against the same value.

    A value that may be of several kinds is complained of once for each, and they are named together. Where a complaint comes
    without its value, as django-ninja's do, only the rule is told.
    """
    kind = complaint["type"]
    if kind == "missing":
        return "is required"
    if kind in _KINDS:
        kinds = dict.fromkeys(_KINDS[each["type"]] for each in (complaint, *alternatives) if each["type"] in _KINDS)
        return _mistaken(" or ".join(kinds), complaint)
    if kind in _RULES and (rule := complaint.get("ctx")):
        told = _RULES[kind](rule)
        return f"{told}, not {name_of(complaint['input'])}" if kind in _NUMBERS and "input" in complaint else told
    return str(complaint["msg"]).removeprefix("Value error, ")


def _mistaken(wanted: str, complaint: Complaint) -> str:
    kind, value = complaint["type"], complaint.get("input")
    if isinstance(value, float) and kind == "int_type" and abs(value) > _INT64_MAX:
        # What is larger than 64 bits has been read as a float: the caller did write an integer.
        return f"must be an integer of at most 64 bits, not {value:g}"
    # Of what could not be parsed it is known to be a string; in a query everything is.
    is_told = "input" in complaint and not kind.endswith("_parsing")
    return f"must be {wanted}, not {name_of(value)}" if is_told else f"must be {wanted}"


def name_of(value: Any) -> str:
    """A JSON value as it is called in a sentence: numbers and null by themselves, everything else by its kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _number(value)
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name
    return type(value).__name__


def _number(value: Any) -> str:
    """Without the .0 of a whole number."""
    return str(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value)[:40]


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
