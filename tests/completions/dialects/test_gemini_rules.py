"""The written rules of the Gemini dialect that no recorded body shows."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from catalog.entries import DialectName, Quirks
from completions.dialects.gemini import Gemini, citations, schema
from gateway_project.errors import InvalidRequest, ProviderAuthFailed, ProviderUnavailable
from tests.completions.dialects.test_contract import adapter_with


def _adapter_of(model: str, **changes: Any):
    return dataclasses.replace(adapter_with(DialectName.GEMINI, Quirks()), upstream_model=model, **changes)


def encode(model: str = "gemini-3.8-flash", adapter_changes: dict[str, Any] | None = None, **chat: Any) -> dict[str, Any]:
    chat.setdefault("messages", [{"role": "user", "content": "Hi"}])
    adapter = _adapter_of(model, **(adapter_changes or {}))
    return json.loads(Gemini().encode(chat, adapter, stream=False).body)


def thinking(model: str, reasoning: dict[str, Any] | None = None, **rest: Any) -> Any:
    chat = rest if reasoning is None else {"reasoning": reasoning, **rest}
    return encode(model, **chat).get("generationConfig", {}).get("thinkingConfig")


@pytest.mark.parametrize(
    ("model", "reasoning", "expected"),
    [
        ("gemini-2.5-pro", {"effort": "none"}, {"includeThoughts": False, "thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", {"effort": "none"}, {"includeThoughts": False, "thinkingBudget": 0}),
        ("gemini-2.5-flash", {"enabled": False}, {"includeThoughts": False, "thinkingBudget": 0}),
        ("gemini-2.5-pro", {"max_tokens": 50}, {"includeThoughts": True, "thinkingBudget": 128}),
        ("gemini-2.5-flash", {"max_tokens": 50_000}, {"includeThoughts": True, "thinkingBudget": 24_576}),
        ("gemini-2.5-pro", {"effort": "xhigh"}, {"includeThoughts": True, "thinkingBudget": 32_768}),
        ("gemini-2.5-pro", {"exclude": True}, {"includeThoughts": False}),
        ("gemini-3.8-flash", {"effort": "none"}, {"includeThoughts": False, "thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", {"effort": "max"}, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3-flash-preview", {"effort": "minimal"}, {"includeThoughts": True, "thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro-preview", {"effort": "medium"}, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3.1-pro-preview", {"enabled": True}, {"includeThoughts": True, "thinkingLevel": "MEDIUM"}),
        ("gemini-3.8-flash", {"max_tokens": 2048, "exclude": True}, {"includeThoughts": False, "thinkingBudget": 2048}),
        ("gemini-flash-latest", {"effort": "low"}, {"includeThoughts": True, "thinkingLevel": "LOW"}),
        ("gemini-3-pro-image", {"effort": "high"}, {"includeThoughts": True}),
        ("gemini-2.0-flash", {"effort": "high"}, None),
        ("gemini-2.5-flash-image", {"effort": "high"}, None),
        ("gemma-3-27b-it", {"effort": "high"}, None),
        ("gemini-3.8-flash", None, None),
    ],
)
def test_reasoning_becomes_what_the_model_takes(model, reasoning, expected):
    assert thinking(model, reasoning) == expected


def test_a_budget_follows_from_effort_and_the_length_of_the_answer():
    assert thinking("gemini-2.5-flash", {"effort": "low"}, max_tokens=10_000)["thinkingBudget"] == 2000
    assert thinking("gemini-2.5-flash", {"effort": "low"}, max_tokens=100)["thinkingBudget"] == 1024
    shorter = {"max_output_length": 8192}
    assert thinking("gemini-2.5-flash", {"effort": "medium"}, adapter_changes=shorter)["thinkingBudget"] == 4096


def test_thoughts_are_shown_unasked_where_the_row_says_that_the_model_reasons():
    shows = {"supported_parameters": frozenset({"reasoning"})}
    assert thinking("gemini-3.8-flash", adapter_changes=shows) == {"includeThoughts": True}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("none", {"mode": "NONE"}), ("required", {"mode": "ANY"}), ("auto", None), (None, None)],
)
def test_each_plain_tool_choice_has_its_mode(choice, expected):
    tool = {"type": "function", "function": {"name": "now"}}
    body = encode(tools=[tool], tool_choice=choice)
    assert body.get("toolConfig", {}).get("functionCallingConfig") == expected


@pytest.mark.parametrize("model", ["gemini-3.6-flash", "gemini-3.5-flash-lite", "gemini-3.8-flash"])
def test_sampling_is_left_out_for_models_that_no_longer_take_it(model):
    assert "generationConfig" not in encode(model, temperature=0.5, top_p=0.5, top_k=5)
    assert encode("gemini-3.5-flash", temperature=0.5)["generationConfig"] == {"temperature": 0.5}


def test_a_top_k_that_means_all_is_left_out():
    assert "generationConfig" not in encode("gemini-2.5-flash", top_k=0)
    assert "generationConfig" not in encode("gemini-2.5-flash", top_k=-1)


def test_a_conversation_of_system_messages_alone_is_the_users_turn():
    body = encode(messages=[{"role": "system", "content": "Say hi."}])
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Say hi."}]}]}


def test_neighbours_of_one_role_are_joined_and_silent_assistants_left_out():
    said = [("user", "a"), ("user", "b"), ("assistant", ""), ("user", "c"), ("assistant", "d"), ("assistant", "e")]
    contents = encode(messages=[{"role": role, "content": text} for role, text in said])["contents"]
    assert [(c["role"], [p["text"] for p in c["parts"]]) for c in contents] == [
        ("user", ["a", "b", "c"]),
        ("model", ["d", "e"]),
    ]


def test_signatures_return_to_what_carried_them():
    details = [
        {"type": "reasoning.encrypted", "data": "first", "format": "google-gemini-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "last", "format": "google-gemini-v1", "index": 1},
        {"type": "reasoning.text", "text": "Hm.", "signature": "own", "format": "google-gemini-v1", "index": 2},
    ]
    message = {"role": "assistant", "content": "Yes.", "reasoning_details": details}
    parts = encode(messages=[{"role": "user", "content": "?"}, message])["contents"][1]["parts"]
    assert parts == [
        {"text": "Hm.", "thought": True, "thoughtSignature": "own"},
        {"text": "", "thoughtSignature": "first"},
        {"text": "Yes.", "thoughtSignature": "last"},
    ]


def test_a_signature_finds_its_call_though_the_client_gave_it_another_id():
    details = [{"type": "reasoning.encrypted", "data": "sig", "id": "old", "format": "google-gemini-v1", "index": 0}]
    calls = [{"id": "new", "type": "function", "function": {"name": "now", "arguments": ""}}]
    message = {"role": "assistant", "content": None, "reasoning_details": details, "tool_calls": calls}
    part = encode(messages=[{"role": "user", "content": "?"}, message])["contents"][1]["parts"][0]
    assert part == {"functionCall": {"id": "new", "name": "now", "args": {}}, "thoughtSignature": "sig"}


def test_calls_without_signature_are_sent_plain_to_models_that_do_not_check():
    calls = [{"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    parts = encode("gemini-2.5-flash", messages=[{"role": "user", "content": "?"}, message])["contents"][1]["parts"]
    assert parts == [{"functionCall": {"id": "c", "name": "now", "args": {}}}]


def test_media_of_a_tool_result_stand_beside_it_before_gemini_3():
    calls = [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "[1]"}, picture]},
    ]
    assert encode("gemini-2.5-flash", messages=messages)["contents"][2]["parts"] == [
        {"functionResponse": {"id": "c", "name": "look", "response": {"output": "[1]"}}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
    ]


def test_a_data_url_that_is_not_base64_becomes_base64():
    content = [{"type": "file", "file": {"file_data": "data:text/plain,a%20b"}}]
    part = encode(messages=[{"role": "user", "content": content}])["contents"][0]["parts"][0]
    assert part == {"inlineData": {"mimeType": "text/plain", "data": "YSBi"}}


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.org/photo"}}, "messages[0].content[0].image_url.url"),
        ({"type": "image_url", "image_url": {}}, "messages[0].content[0].image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:;base64,AA"}}, "media type"),
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "pcm16"}}, "input_audio.format 'pcm16'"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file.file_data"),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBERi0xLjQKJcTl8uXrp/Og0MTGCjQ="}},
            "file.file_data",
        ),
        ({"type": "hologram"}, "messages[0].content[0].type 'hologram'"),
    ],
)
def test_a_part_that_gemini_cannot_take_is_refused_by_name(part, names):
    with pytest.raises(InvalidRequest) as caught:
        encode(messages=[{"role": "user", "content": [part]}])
    assert names in caught.value.message


@pytest.mark.parametrize(
    ("chat", "names"),
    [
        ({"response_format": {"type": "grammar", "grammar": "x"}}, "response_format.type 'grammar'"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "reasoning_details": [
                            {"type": "reasoning.server_tool_call", "format": "google-gemini-v1", "result": "{"}
                        ],
                    }
                ]
            },
            "reasoning.server_tool_call",
        ),
        ({"tools": [{"type": "openrouter:bash"}]}, "tools[0].type 'openrouter:bash'"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"modalities": ["audio"], "audio": {"format": "mp3"}}, "audio.format 'mp3'"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort 'huge'"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}, "messages[0].tool_call_id 'x'"),
        ({"messages": [{"role": "narrator", "content": "1"}]}, "messages[0].role 'narrator'"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages[0].tool_calls[0]"),
        (
            {
                "tools": [{"type": "function", "function": {"name": "a"}}],
                "tool_choice": {"type": "function", "function": {"name": "b"}},
            },
            "tool_choice names the function 'b'",
        ),
        ({"tools": [{"type": "function", "function": {"name": "a"}}], "tool_choice": {"type": "any"}}, "tool_choice"),
    ],
)
def test_a_field_that_gemini_cannot_be_told_is_refused_by_name(chat, names):
    with pytest.raises(InvalidRequest) as caught:
        encode(**chat)
    assert names in caught.value.message


def test_ids_of_calls_are_the_same_in_every_reading_and_differ_between_answers():
    def ids(response_id: str) -> list[str]:
        call = {"functionCall": {"name": "now", "args": {}}}
        body = {"responseId": response_id, "candidates": [{"content": {"parts": [call, call]}, "finishReason": "STOP"}]}
        completion = Gemini().decode(json.dumps(body).encode(), _adapter_of("gemini-2.5-flash"))
        return [call["id"] for call in completion.choices[0]["message"]["tool_calls"]]

    assert ids("a") == ids("a")
    assert len({*ids("a"), *ids("b")}) == 4


@pytest.mark.parametrize("native", ["OTHER", "NO_IMAGE", "UNEXPECTED_TOOL_CALL", "SOMETHING_NEW"])
def test_a_reason_that_is_no_proper_end_is_an_error_and_says_so(native):
    body = {"candidates": [{"content": {"parts": [{"text": "Hm"}]}, "finishReason": native}]}
    choice = Gemini().decode(json.dumps(body).encode(), _adapter_of("gemini-3.8-flash")).choices[0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("error", native)
    assert native in choice["error"]["message"]


def test_searches_are_billed_one_by_one_since_gemini_3_and_once_before():
    candidate = {"groundingMetadata": {"webSearchQueries": ["a", "b"]}, "finishReason": "STOP"}
    body = json.dumps({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 1}}).encode()
    for model, searches in (("gemini-3.8-flash", 2), ("gemini-2.5-flash", 1)):
        usage = Gemini().decode(body, _adapter_of(model)).usage
        assert usage is not None
        assert usage.web_searches == searches


def test_an_error_object_in_a_whole_answer_is_raised():
    body = (
        b'{"error": {"code": 400, "message": "API key expired. Please renew the API key.", "status": "INVALID_ARGUMENT"}}'
    )
    with pytest.raises(ProviderAuthFailed):
        Gemini().decode(body, _adapter_of("gemini-3.8-flash"))


@pytest.mark.parametrize("body", [b'{"candidates": [1]}', b'{"candidates": [{"content": {"parts": [{"text": 5}]}}]}'])
def test_an_answer_of_unknown_shape_is_the_providers_fault(body):
    with pytest.raises(ProviderUnavailable):
        Gemini().decode(body, _adapter_of("gemini-3.8-flash"))


def test_the_path_names_model_and_method_and_keeps_full_resource_names():
    path = Gemini().path
    assert path(_adapter_of("gemini-3.8-flash"), stream=False) == "/models/gemini-3.8-flash:generateContent"
    assert path(_adapter_of("tunedModels/mine"), stream=True) == "/tunedModels/mine:streamGenerateContent?alt=sse"


def test_counts_that_later_events_leave_out_are_kept():
    decoder = Gemini().decoder(_adapter_of("gemini-3.8-flash"))
    first = (
        b'data: {"usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 1}}\n\n'
    )
    last = b'data: {"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5}}\n\n'
    usage = (decoder.feed(first) + decoder.feed(last))[-1].usage
    assert usage is not None
    assert (usage.prompt_uncached, usage.cache_read, usage.completion_text) == (2, 8, 5)


def test_a_schema_keeps_its_meaning_where_google_wants_other_words():
    given = {
        "$schema": "x", "type": "object",
        "properties": {"const": {"const": 1}, "$schema": {"type": "string"}, "who": {"$ref": "#/$defs/a", "title": "Who"}},
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"default": {"const": 2}}},
    }  # fmt: skip
    assert schema.acceptable(given) == {
        "type": "object",
        "properties": {
            "const": {"enum": [1]},
            "$schema": {"type": "string"},
            "who": {"anyOf": [{"$ref": "#/$defs/a"}], "title": "Who"},
        },
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"default": {"const": 2}}},
    }


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        ({"startIndex": 0, "endIndex": 3, "text": "Üb"}, (0, 2)),
        ({"startIndex": 99, "endIndex": 120, "text": "alles"}, (5, 10)),
        ({"startIndex": 0, "endIndex": 4, "text": "elsewhere"}, (0, 10)),
        ({}, (0, 10)),
    ],
)
def test_a_citation_is_placed_by_bytes_else_by_its_text_else_on_everything(segment, expected):
    source = {"uri": "https://example.org", "title": "Example"}
    metadata = {
        "groundingChunks": [{"web": source}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
    }
    cited = citations.cited({"groundingMetadata": metadata}, "Über alles")[0]["url_citation"]
    assert (cited["start_index"], cited["end_index"]) == expected


def test_image_settings_are_sent_without_modalities_too():
    config = encode("gemini-3-pro-image", image_config={"aspect_ratio": "16:9"})["generationConfig"]
    assert config == {"imageConfig": {"aspectRatio": "16:9"}}
