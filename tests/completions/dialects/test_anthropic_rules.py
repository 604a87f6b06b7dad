"""The rules of the Anthropic dialect, one by one: what is said how, what is ignored, what is refused by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest

from catalog.entries import AdapterEntry, DialectName, Prices, ProviderEntry
from completions.dialects.anthropic import Anthropic, abilities, caching, schema
from completions.dialects.anthropic.abilities import Off
from gateway_project.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    ProviderAuthFailed,
    ProviderOverloaded,
    ProviderTimeout,
    ProviderUnavailable,
)

PROVIDER = ProviderEntry(
    id=1, slug="anthropic", name="Anthropic", dialect=DialectName.ANTHROPIC, base_url="http://127.0.0.1:9/v1", api_keys=(),
    is_local=False, connect_timeout_s=1, first_byte_timeout_s=1, idle_timeout_s=1, total_timeout_s=1,
    extra_headers={"x-team": "blue"},
)  # fmt: skip
ADAPTER = AdapterEntry(
    id=1, model_id="anthropic/claude", provider=PROVIDER, upstream_model="claude-opus-4-6", is_enabled=True, prices=Prices(),
    context_length=200_000, max_output_length=None, quantization=None, supported_parameters=frozenset(), unconfigured=None,
)  # fmt: skip
LOOK: dict[str, Any] = {"type": "function", "function": {"name": "look"}}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
DATA_URL = "data:application/pdf;base64,JVBERi0="


def encode(model: str = "claude-opus-4-6", *, max_output_length: int | None = None, **chat: Any) -> dict[str, Any]:
    chat.setdefault("messages", [{"role": "user", "content": "Hi"}])
    adapter = dataclasses.replace(ADAPTER, upstream_model=model, max_output_length=max_output_length)
    return orjson.loads(Anthropic().encode(chat, adapter, stream=False).body)


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def test_headers_carry_key_and_version_and_what_the_provider_adds():
    assert Anthropic().headers(PROVIDER, "secret") == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-team": "blue",
        "x-api-key": "secret",
    }
    assert "x-api-key" not in Anthropic().headers(PROVIDER, None)


@pytest.mark.parametrize(
    ("field", "chat"),
    [
        ("n is 2", {"n": 2}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("audio", {"audio": {"voice": "alloy", "format": "mp3"}}),
        ("stop", {"stop": ["\n"]}),
        ("service_tier", {"service_tier": "flex"}),
        ("response_format.type", {"response_format": {"type": "grammar", "grammar": "root ::= x"}}),
        ("tools[0].type", {"tools": [{"type": "openrouter:datetime"}]}),
        ("tool_choice", {"tools": [LOOK], "tool_choice": "sometimes"}),
        ("tool_choice", {"tools": [LOOK], "tool_choice": {"type": "allowed_tools"}}),
        ("cache_control", {"cache_control": {"type": "persistent"}}),
        ("cache_control", {"cache_control": {"type": "ephemeral", "ttl": "2h"}}),
        ("messages[0].content[0]", {"messages": user({"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}})}),
        ("messages[0].content[1]", {"messages": user({"type": "text", "text": "a"}, {"type": "video_url"})}),
        ("messages[0].content[0]", {"messages": user({"type": "hologram"})}),
        ("messages[0].content[0].image_url.url", {"messages": user({"type": "image_url", "image_url": {}})}),
        ("image/tiff", {"messages": user({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}})}),
        ("image_url.url", {"messages": user({"type": "image_url", "image_url": {"url": "data:image/png"}})}),
        ("messages[0].content[0].file", {"messages": user({"type": "file"})}),
        ("file_data", {"messages": user({"type": "file", "file": {"file_data": "JVBERi0="}})}),
        ("application/zip", {"messages": user({"type": "file", "file": {"file_data": "data:application/zip;base64,AA=="}})}),
        ("file_data", {"messages": user({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}})}),
        ("cache_control", {"messages": user({"type": "text", "text": "a", "cache_control": True})}),
        ("messages[0].content", {"messages": [
            {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]}),
        ("messages[0].role", {"messages": [{"role": "function", "content": "4"}]}),
        ("messages[0].images", {"messages": [{"role": "assistant", "images": [{"type": "image_url"}]}]}),
        ("messages[0].tool_calls[0]", {"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}),
        ("messages[0].tool_call_id", {"messages": [{"role": "tool", "content": "4"}]}),
    ],
)  # fmt: skip
def test_what_anthropic_has_no_words_for_is_refused_by_name(field, chat):
    with pytest.raises(InvalidRequest) as refused:
        encode(**chat)
    assert field in refused.value.message


def test_parameters_without_a_counterpart_are_ignored():
    ignored: dict[str, Any] = {
        "seed": 1, "logprobs": True, "top_logprobs": 3, "logit_bias": {"1": 2}, "frequency_penalty": 1, "presence_penalty": 1,
        "repetition_penalty": 1.1, "min_p": 0.1, "top_a": 0.1, "prediction": {"type": "content", "content": ""},
        "image_config": {}, "metadata": {"a": "b"}, "session_id": "s", "prompt_cache_key": "k", "provider": {"order": ["x"]},
        "transforms": [], "top_k": 0, "never_heard_of": 1, "n": 1, "modalities": ["text"],
    }  # fmt: skip
    assert encode(**ignored) == encode()


@pytest.mark.parametrize(
    ("asked", "longest", "sent"), [(7, 100, 7), (None, 100, 100), (None, None, 4096)], ids=["caller", "adapter", "default"]
)
def test_max_tokens_is_always_sent(asked, longest, sent):
    chat = {} if asked is None else {"max_tokens": asked}
    assert encode(max_output_length=longest, **chat)["max_tokens"] == sent


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("claude-haiku-4-5", {"temperature": 2, "top_p": 0.5, "top_k": 3}, {"temperature": 1, "top_k": 3}),
        ("claude-haiku-4-5", {"top_p": 0.5}, {"top_p": 0.5}),
        ("kimi-k3", {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "top_p": 0.5}),
        ("claude-opus-4-7", {"temperature": 0.5, "top_p": 0.5, "top_k": 3}, {}),
        ("claude-opus-4-6", {"temperature": 0, "reasoning": {"enabled": True}}, {}),
    ],
)
def test_sampling_is_sent_as_far_as_the_model_takes_it(model, asked, sent):
    body = encode(model, **asked)
    assert {key: body[key] for key in ("temperature", "top_p", "top_k") if key in body} == sent


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "claude-3-7-sonnet-20250219",
            {"takes_budget": True, "takes_adaptive": False, "takes_schema": False, "efforts": ()},
        ),
        ("claude-opus-4-20250514", {"takes_budget": True, "takes_schema": False, "takes_sampling": True}),
        ("claude-haiku-4-5-20251001", {"takes_schema": True, "takes_adaptive": False, "efforts": ()}),
        ("claude-opus-4-5", {"takes_adaptive": False, "efforts": ("low", "medium", "high")}),
        ("anthropic/claude-4.6-sonnet", {"takes_adaptive": True, "takes_budget": True, "takes_sampling": True}),
        ("claude-opus-4-7", {"takes_budget": False, "takes_sampling": False, "off": Off.OMIT, "takes_system_turns": False}),
        ("us.anthropic.claude-opus-4-8-v1:0", {"off": Off.OMIT, "takes_system_turns": True}),
        ("claude-sonnet-5", {"off": Off.DISABLED, "takes_system_turns": False}),
        ("claude-opus-5", {"off": Off.DISABLED, "takes_system_turns": True}),
        ("claude-opus-5-5", {"off": Off.NEVER}),
        ("claude-sonnet-5-5", {"off": Off.BETWEEN_TOOLS, "takes_system_turns": True}),
        ("claude-haiku-5-5", {"off": Off.DISABLED, "takes_system_turns": False}),
        ("claude-fable-5-1", {"off": Off.NEVER}),
        ("claude-mythos-preview", {"off": Off.NEVER, "takes_adaptive": True}),
        ("claude-opus-latest", {"takes_adaptive": True, "takes_sampling": False}),
        ("deepseek-reasoner", {"is_claude": False, "takes_budget": True, "takes_schema": False}),
    ],
)
def test_abilities_follow_the_generation_in_the_model_id(model, expected):
    found = abilities.of(model)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("model", "reasoning", "sent"),
    [
        ("claude-haiku-4-5", {"effort": "high"}, {"thinking": {"type": "enabled", "budget_tokens": 8000}}),
        ("claude-haiku-4-5", {"enabled": True}, {"thinking": {"type": "enabled", "budget_tokens": 5000}}),
        ("claude-haiku-4-5", {"effort": "minimal"}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("claude-haiku-4-5", {"max_tokens": 10}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("claude-haiku-4-5", {"max_tokens": 90_000}, {"thinking": {"type": "enabled", "budget_tokens": 9999}}),
        ("claude-haiku-4-5", {"effort": "none"}, {}),
        ("claude-haiku-4-5", {"exclude": True}, {}),
        ("claude-opus-4-6", {"max_tokens": 2000}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ("claude-opus-4-6", {"effort": "xhigh"}, {"thinking": {"type": "adaptive", "display": "summarized"},
                                                  "output_config": {"effort": "high"}}),
        ("claude-opus-4-8", {"max_tokens": 2000}, {"thinking": {"type": "adaptive", "display": "summarized"}}),
        ("claude-opus-4-8", {"effort": "minimal", "exclude": True}, {"thinking": {"type": "adaptive", "display": "omitted"},
                                                                     "output_config": {"effort": "low"}}),
        ("claude-opus-4-8", {"enabled": False}, {}),
        ("claude-opus-5", {"effort": "none"}, {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-5-5", {"enabled": False}, {"thinking": {"type": "between_tools"}}),
    ],
)  # fmt: skip
def test_reasoning_is_asked_for_as_the_model_takes_it(model, reasoning, sent):
    body = encode(model, max_tokens=10_000, reasoning=reasoning)
    assert {key: body[key] for key in ("thinking", "output_config") if key in body} == sent


@pytest.mark.parametrize(
    ("wish", "field"), [({"effort": "none"}, "reasoning.effort"), ({"enabled": False}, "reasoning.enabled")]
)
def test_a_model_that_always_reasons_cannot_be_told_not_to(wish, field):
    with pytest.raises(InvalidRequest, match=field):
        encode("claude-fable-5-1", reasoning=wish)


def test_a_budget_needs_room_in_max_tokens():
    with pytest.raises(InvalidRequest, match="max_tokens is 1024"):
        encode("claude-haiku-4-5", max_tokens=1024, reasoning={"effort": "low"})


def test_verbosity_is_the_effort_where_reasoning_names_none():
    assert encode("claude-opus-4-8", verbosity="low")["output_config"] == {"effort": "low"}
    both = encode("claude-opus-4-8", verbosity="low", reasoning={"effort": "max"})
    assert both["output_config"] == {"effort": "max"}
    assert "output_config" not in encode("claude-haiku-4-5", verbosity="low")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-opus-4-8"])
def test_a_forced_call_wins_over_thinking(model, choice):
    body = encode(model, tools=[LOOK], tool_choice=choice, reasoning={"enabled": True}, temperature=0.5)
    assert "thinking" not in body
    assert body["tool_choice"]["type"] in ("any", "tool")


LOOP: list[dict[str, Any]] = [
    {"role": "user", "content": "Look"},
    {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "c", "content": "seen"},
]
SIGNED: list[dict[str, Any]] = [
    {"type": "reasoning.text", "text": "Hm", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}
]


def test_a_tool_loop_that_lost_its_thinking_goes_on_without():
    wish = {"effort": "low"}
    assert "thinking" not in encode("claude-haiku-4-5", max_tokens=9000, messages=LOOP, reasoning=wish)
    signed = [LOOP[0], {**LOOP[1], "reasoning_details": SIGNED}, LOOP[2]]
    assert "thinking" in encode("claude-haiku-4-5", max_tokens=9000, messages=signed, reasoning=wish)
    ended = [*LOOP, {"role": "assistant", "content": "Done"}, {"role": "user", "content": "More"}]
    assert "thinking" in encode("claude-haiku-4-5", max_tokens=9000, messages=ended, reasoning=wish)
    assert "thinking" in encode("claude-opus-4-8", messages=LOOP, reasoning=wish), "adaptive thinking does not mind"


@pytest.mark.parametrize(
    ("chat", "sent"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": LOOK}, {"type": "tool", "name": "look"}),
        ({"tool_choice": {"type": "openrouter:web_search"}}, {"type": "tool", "name": "web_search"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, None),
        ({"tool_choice": "required", "parallel_tool_calls": False}, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice_in_all_its_forms(chat, sent):
    assert encode(tools=[LOOK], **chat).get("tool_choice") == sent


def test_a_choice_without_tools_is_left_out():
    assert "tool_choice" not in encode(tool_choice="auto", parallel_tool_calls=False)


def test_tools_always_have_an_object_schema_and_own_tools_go_as_they_are():
    own = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "cache_control": {"type": "ephemeral"}}
    strict = {
        "type": "function",
        "function": {"name": "f", "parameters": SCHEMA, "strict": True},
        "eager_input_streaming": True,
    }
    tools = encode(tools=[LOOK, strict, own])["tools"]
    assert tools[0] == {"name": "look", "input_schema": {"type": "object", "properties": {}}}
    assert tools[1]["strict"] is True
    assert tools[1]["eager_input_streaming"] is True
    assert tools[1]["input_schema"]["additionalProperties"] is False
    assert tools[2] == own
    assert encode("claude-opus-4-1", tools=[strict])["tools"][0].keys() == {"name", "input_schema", "eager_input_streaming"}


@pytest.mark.parametrize(
    "chat",
    [
        {"plugins": [{"id": "web", "include_domains": ["example.com"], "max_results": 3}]},
        {"web_search_options": {"search_context_size": "low", "include_domains": ["example.com"]}},
        {"tools": [{"type": "web_search", "allowed_domains": ["example.com"]}], "plugins": [{"id": "web"}]},
    ],
)
def test_web_search_is_anthropics_own_however_it_is_asked_for(chat):
    own = {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["example.com"]}
    assert encode(**chat)["tools"] == [own]


def test_a_web_plugin_of_another_engine_is_not_ours():
    assert "tools" not in encode(
        plugins=[{"id": "web", "engine": "exa"}, {"id": "web", "enabled": False}, {"id": "moderation"}]
    )


def test_a_schema_is_held_where_the_model_can_and_told_where_it_cannot():
    wanted: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    held = encode("claude-sonnet-4-6", response_format=wanted)
    assert held["output_config"]["format"] == {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}
    assert "system" not in held
    told = encode("claude-opus-4-1", response_format=wanted, messages=[{"role": "system", "content": "Rules"}])
    assert "output_config" not in told
    assert [block["text"][:5] for block in told["system"]] == ["Rules", "Answe"]
    assert '"a"' in told["system"][1]["text"]
    with pytest.raises(InvalidRequest, match="strict"):
        encode("claude-opus-4-1", response_format={**wanted, "json_schema": {**wanted["json_schema"], "strict": True}})
    assert encode(response_format={"type": "text"}) == encode()


def test_a_restricted_schema_says_its_constraints_in_words():
    asked = {"type": "array", "minItems": 2, "items": {"anyOf": [{"type": "integer", "minimum": 3}, {"$ref": "#/$defs/n"}]},
             "$defs": {"n": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 2}}}}  # fmt: skip
    assert schema.restricted(asked) == {
        "type": "array",
        "items": {"anyOf": [{"type": "integer", "description": "{minimum: 3}"}, {"$ref": "#/$defs/n"}]},
        "$defs": {"n": {"type": "object", "additionalProperties": {"type": "string", "description": "{maxLength: 2}"}}},
        "description": "{minItems: 2}",
    }


@pytest.mark.parametrize(
    ("marks", "top_level", "kept"), [(4, False, [0, 1, 2, 3]), (6, False, [2, 3, 4, 5]), (6, True, [3, 4, 5])]
)
def test_the_last_four_breakpoints_are_kept(marks, top_level, kept):
    parts = [{"type": "text", "text": str(n), "cache_control": {"type": "ephemeral"}} for n in range(marks)]
    chat: dict[str, Any] = {"cache_control": {"type": "ephemeral"}} if top_level else {}
    blocks = encode(messages=user(*parts), **chat)["messages"][0]["content"]
    assert [n for n, block in enumerate(blocks) if "cache_control" in block] == kept
    assert caching.MAX_BREAKPOINTS == 4


def test_a_marker_inside_and_on_a_tool_result_is_carried_and_counted():
    part = {"type": "text", "text": "seen", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    result = {**LOOP[2], "content": [part], "cache_control": {"type": "ephemeral"}}
    block = encode(messages=[*LOOP[:2], result])["messages"][2]["content"][0]
    assert block["cache_control"] == {"type": "ephemeral"}
    assert block["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def test_a_marker_on_a_message_never_lands_on_thinking():
    message = {"role": "assistant", "content": "Yes", "reasoning_details": [{**SIGNED[0], "id": "after-3"}],
               "cache_control": {"type": "ephemeral"}}  # fmt: skip
    blocks = encode(messages=[{"role": "user", "content": "?"}, message])["messages"][1]["content"]
    assert [(block["type"], "cache_control" in block) for block in blocks] == [("text", True), ("thinking", False)]


def test_files_of_many_kinds_find_their_block():
    sources = {
        "data:text/csv,a%2Cb": {"type": "text", "media_type": "text/plain", "data": "a,b"},
        "data:application/json;base64,e30=": {"type": "text", "media_type": "text/plain", "data": "{}"},
        "data:image/webp;base64,AA==": {"type": "base64", "media_type": "image/webp", "data": "AA=="},
        DATA_URL: {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        "https://example.com/doc": {"type": "url", "url": "https://example.com/doc"},
    }
    parts = [{"type": "file", "file": {"file_data": data}} for data in sources]
    blocks = encode(messages=user(*parts))["messages"][0]["content"]
    assert [block["source"] for block in blocks] == list(sources.values())


def test_messages_without_content_are_left_out_and_a_refusal_is_text():
    messages = [
        {"role": "user", "content": "  "},
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]},
        {"role": "user", "content": "Why?"},
    ]
    turns = encode(messages=messages)["messages"]
    assert [[block["text"] for block in turn["content"]] for turn in turns] == [["Hi"], ["No.", "Never."], ["Why?"]]


def test_a_system_prompt_alone_is_given_an_opening_turn():
    body = encode(messages=[{"role": "system", "content": "Tell a joke."}])
    assert body["system"] == [{"type": "text", "text": "Tell a joke."}]
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "."}]}]


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        (["user"], [], True),
        (["user"], ["assistant"], True),
        (["user", "assistant"], [], False),
        (["user", "assistant"], ["assistant"], False),
        (["user"], ["user"], False),
    ],
)
def test_a_later_system_message_is_a_system_turn_only_where_anthropic_allows_one(before, after, stays):
    roles = [*before, "system", *after]
    messages = [{"role": role, "content": f"{role} {position}"} for position, role in enumerate(roles)]
    turns = encode("claude-opus-4-8", messages=messages)["messages"]
    assert ("system" in [turn["role"] for turn in turns]) is stays
    texts = [block["text"] for turn in turns for block in turn["content"]]
    said = f"system {len(before)}"
    assert texts.count(said if stays else f"<system-reminder>\n{said}\n</system-reminder>") == 1
    assert len(texts) == len(messages)


def test_server_tools_come_back_as_they_were():
    answer = {
        "id": "msg_1", "type": "message", "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1},
        "content": [
            {"type": "text", "text": "Looking."},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"},
             "caller": {"type": "code_execution_20260120", "tool_id": "srvtoolu_0"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
             "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}},
            {"type": "text", "text": "Nothing."},
        ],
    }  # fmt: skip
    message = Anthropic().decode(orjson.dumps(answer), ADAPTER).choices[0]["message"]
    turns = encode(messages=[{"role": "user", "content": "?"}, message, {"role": "user", "content": "ok"}])["messages"]
    assert turns[1]["content"] == answer["content"]


def stream_of(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)


def test_an_error_event_raises_after_the_chunks_before_it():
    decoder = Anthropic().decoder(ADAPTER)
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hei"}}
    failing = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    chunks = decoder.feed(stream_of(delta, failing, delta))
    assert [chunk.choices[0]["delta"]["content"] for chunk in chunks] == ["Hei"]
    for _ in range(2):
        with pytest.raises(ProviderOverloaded, match="Overloaded"):
            decoder.feed(b"")
    with pytest.raises(ProviderOverloaded):
        decoder.flush()
    assert decoder.is_finished is False


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("invalid_request_error", ContextLengthExceeded),
        ("authentication_error", ProviderAuthFailed),
        ("billing_error", ProviderAuthFailed),
        ("timeout_error", ProviderTimeout),
        ("api_error", ProviderUnavailable),
        ("some_error_of_tomorrow", ProviderUnavailable),
    ],
)
def test_an_error_inside_a_stream_is_known_by_its_type(kind, expected):
    decoder = Anthropic().decoder(ADAPTER)
    with pytest.raises(expected) as raised:
        decoder.feed(
            stream_of({"type": "error", "error": {"type": kind, "message": "prompt is too long: 9 tokens > 8 maximum"}})
        )
    assert type(raised.value) is expected


def test_a_tool_input_that_comes_whole_with_its_start_is_kept():
    decoder = Anthropic().decoder(ADAPTER)
    block = {"type": "tool_use", "id": "c", "name": "look", "input": {"at": 1}}
    chunks = decoder.feed(stream_of(
        {"type": "content_block_start", "index": 0, "content_block": block}, {"type": "content_block_stop", "index": 0},
    ))  # fmt: skip
    assert chunks[1].choices[0]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": '{"at":1}'}}]


def test_counts_of_a_stream_never_shrink():
    decoder = Anthropic().decoder(ADAPTER)
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 30, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 0, "output_tokens": 9}}
    usage = decoder.feed(stream_of(start, end))[-1].usage
    assert usage is not None
    assert (usage.prompt_uncached, usage.completion_text) == (30, 9)


def test_a_code_of_the_cause_is_preferred_to_the_type_of_an_error():
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": "No.",
                                       "details": {"error_code": "contract_spend_limit_reached"}}}  # fmt: skip
    error = Anthropic().error(400, {}, orjson.dumps(body))
    assert isinstance(error, ProviderAuthFailed)
    assert error.provider_code == "contract_spend_limit_reached"
