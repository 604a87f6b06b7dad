"""Bodies that pass `completions.schemas` and are still malformed are refused by the name of the field."""

from __future__ import annotations

import pytest

from completions import shape
from gateway_project.errors import InvalidRequest


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("messages[0].tool_calls[0].function must be", {"tool_calls": [{"id": "a", "function": "look"}]}),
        ("messages[0].tool_calls[0] must not be null", {"tool_calls": [None]}),
        ("messages[0].reasoning_details[0] must be", {"reasoning_details": ["Hm."]}),
        ("messages[0].content[0].text is missing", {"content": [{"type": "text"}]}),
        ("messages[0].content[0].image_url is missing", {"content": [{"type": "image_url"}]}),
        ("messages[0].content[0].image_url.url is missing", {"content": [{"type": "image_url", "image_url": {}}]}),
        ("messages[0].content[0].file must be an object", {"content": [{"type": "file", "file": "a.pdf"}]}),
    ],
)
def test_a_malformed_message_is_refused_by_its_field(field, changes):
    chat = {"messages": [{"role": "assistant", "content": None, **changes}]}
    with pytest.raises(InvalidRequest) as refused:
        shape.check(chat)
    assert field in refused.value.message


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("tools[0] must be an object", {"tools": ["look"]}),
        ("tools[0].type is missing", {"tools": [{}]}),
        ("plugins must be an array, not an object", {"plugins": {}}),
        ("tools[0].function is missing", {"tools": [{"type": "function"}]}),
        ("tools[0].function.name is missing", {"tools": [{"type": "function", "function": {}}]}),
        ("tool_choice.type is missing", {"tool_choice": {}}),
        ("response_format.json_schema must be", {"response_format": {"type": "json_schema", "json_schema": "cat"}}),
        ("plugins[0].id is missing", {"plugins": [{}]}),
        ("provider.options must be", {"provider": {"options": 1}}),
        ("provider.options.acme must be", {"provider": {"options": {"acme": []}}}),
    ],
)
def test_a_malformed_request_is_refused_by_its_field(field, changes):
    chat = {"messages": [{"role": "user", "content": "Hi"}], **changes}
    with pytest.raises(InvalidRequest) as refused:
        shape.check(chat)
    assert field in refused.value.message
