"""A canonical request as the body of `generateContent`. Pure. What it ignores on purpose is listed in the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.entries import AdapterEntry
from completions.dialects.base import JSON
from completions.dialects.gemini import contents, schema, thinking
from completions.dialects.gemini.generation import Generation
from gateway_project.errors import InvalidRequest

_SAME_MEANING = {
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "max_tokens": "maxOutputTokens",
}
_SERVICE_TIERS = {"flex": "flex", "priority": "priority", "fast": "priority"}
_SEARCH_TOOLS = frozenset({"web_search", "openrouter:web_search"})
_FETCH_TOOLS = frozenset({"web_fetch", "openrouter:web_fetch"})
_SEED_LIMIT = 2**31


def build(chat: Mapping[str, Any], adapter: AdapterEntry) -> JSON:
    """The body. Raises `InvalidRequest` naming the field that Gemini cannot be told."""
    generation = Generation.of(adapter.upstream_model)
    said, instruction = contents.build(chat.get("messages") or (), generation)
    body: JSON = {"contents": said}
    if instruction:
        body["systemInstruction"] = instruction
    declarations, tools = _tools(chat)
    if tools:
        body["tools"] = tools
    if declarations and (choice := _tool_choice(chat.get("tool_choice"), declarations, chat)) is not None:
        body["toolConfig"] = {"functionCallingConfig": choice}
    if declarations and len(tools) > 1 and generation.combines_tools:
        body.setdefault("toolConfig", {})["includeServerSideToolInvocations"] = True
    if config := _generation_config(chat, adapter, generation):
        body["generationConfig"] = config
    if tier := _SERVICE_TIERS.get(chat.get("service_tier") or ""):
        body["serviceTier"] = tier
    return body


def _generation_config(chat: Mapping[str, Any], adapter: AdapterEntry, generation: Generation) -> JSON:
    config: JSON = {}
    for ours, theirs in _SAME_MEANING.items():
        if chat.get(ours) is not None:
            config[theirs] = chat[ours]
    if generation.takes_sampling:
        config |= _sampling(chat)
    if chat.get("seed") is not None:
        # Google's is an int32, OpenAI's is not; a seed has no meaning but to be the same again.
        config["seed"] = chat["seed"] % _SEED_LIMIT
    if stop := chat.get("stop"):
        config["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    if (chat.get("n") or 1) > 1:
        config["candidateCount"] = chat["n"]
    if chat.get("logprobs"):
        config["responseLogprobs"] = True
        if chat.get("top_logprobs"):
            config["logprobs"] = chat["top_logprobs"]
    config |= _format(chat.get("response_format")) | _modalities(chat)
    thoughts = thinking.config(
        chat.get("reasoning"),
        generation,
        max_tokens=thinking.output_limit(chat.get("max_tokens"), adapter.max_output_length),
        shows_thoughts="reasoning" in adapter.supported_parameters,
    )
    if thoughts is not None:
        config["thinkingConfig"] = thoughts
    return config


def _sampling(chat: Mapping[str, Any]) -> JSON:
    config = {
        theirs: chat[ours]
        for ours, theirs in (("temperature", "temperature"), ("top_p", "topP"))
        if chat.get(ours) is not None
    }
    if (chat.get("top_k") or 0) > 0:  # 0 and -1 mean "all" to others; Google wants a positive number or none.
        config["topK"] = chat["top_k"]
    return config


def _format(wanted: Mapping[str, Any] | None) -> JSON:
    kind = (wanted or {"type": "text"}).get("type")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"responseMimeType": "application/json"}
    if kind == "json_schema" and wanted:
        described = (wanted.get("json_schema") or {}).get("schema")
        config: JSON = {"responseMimeType": "application/json"}
        return config if described is None else config | {"responseJsonSchema": schema.acceptable(described)}
    raise InvalidRequest(
        f"response_format.type {kind!r} is not one that Gemini takes; use text, json_object or json_schema"
    )


def _modalities(chat: Mapping[str, Any]) -> JSON:
    wanted = [str(modality).upper() for modality in chat.get("modalities") or ()]
    config: JSON = {"responseModalities": wanted} if set(wanted) - {"TEXT"} else {}
    if "AUDIO" in wanted:
        audio = chat.get("audio") or {}
        if audio.get("format") not in (None, "pcm16"):
            raise InvalidRequest(
                f"audio.format {audio['format']!r} is not one that Gemini speaks; use pcm16 (24 kHz, mono)"
            )
        if audio.get("voice"):
            config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": audio["voice"]}}}
    image = chat.get("image_config") or {}
    asked = {
        theirs: image[ours]
        for ours, theirs in (("aspect_ratio", "aspectRatio"), ("image_size", "imageSize"))
        if image.get(ours)
    }
    return config | ({"imageConfig": asked} if asked else {})


def _tools(chat: Mapping[str, Any]) -> tuple[list[JSON], list[JSON]]:
    """The function declarations alone, and Google's whole `tools`. Web search is also asked for by option and by plugin."""
    declarations: list[JSON] = []
    searches = "web_search_options" in chat or any(
        plugin.get("id") == "web" and plugin.get("enabled", True) for plugin in chat.get("plugins") or ()
    )
    fetches = False
    for index, tool in enumerate(chat.get("tools") or ()):
        kind = tool.get("type")
        if kind == "function":
            declarations.append(_declaration(tool.get("function") or {}, f"tools[{index}].function"))
        elif kind in _SEARCH_TOOLS:
            searches = True
        elif kind in _FETCH_TOOLS:
            fetches = True
        else:
            raise InvalidRequest(f"tools[{index}].type {kind!r} is not one that Gemini has; use function or web_search")
    tools: list[JSON] = ([{"googleSearch": {}}] if searches else []) + ([{"urlContext": {}}] if fetches else [])
    return declarations, tools + ([{"functionDeclarations": declarations}] if declarations else [])


def _declaration(function: Mapping[str, Any], field: str) -> JSON:
    if not function.get("name"):
        raise InvalidRequest(f"{field}.name is missing")
    declared: JSON = {"name": function["name"]}
    if function.get("description"):
        declared["description"] = function["description"]
    if schema.says_something(function.get("parameters")):
        declared["parametersJsonSchema"] = schema.acceptable(function["parameters"])
    return declared


def _tool_choice(choice: Any, declarations: list[JSON], chat: Mapping[str, Any]) -> JSON | None:
    """`functionCallingConfig`, None for Google's default.

    `strict` on a function asks for arguments that follow its schema: mode VALIDATED, which leaves the model free to answer
    in words (google-genai 3.4.0, November 2026). ANY does so by itself.
    """
    if choice is None or choice == "auto":
        is_strict = any((tool.get("function") or {}).get("strict") for tool in chat.get("tools") or ())
        return {"mode": "VALIDATED"} if is_strict else None
    if choice == "none":
        return {"mode": "NONE"}
    if choice == "required":
        return {"mode": "ANY"}
    name = (choice.get("function") or {}).get("name") if isinstance(choice, Mapping) else None
    if name is None:
        raise InvalidRequest(f"tool_choice {choice!r} is unknown; use none, auto, required or one function by name")
    if name not in {declared["name"] for declared in declarations}:
        raise InvalidRequest(f"tool_choice names the function {name!r}, which is not among the tools")
    return {"mode": "ANY", "allowedFunctionNames": [name]}
