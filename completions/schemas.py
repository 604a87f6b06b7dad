"""What a chat request may look like (openrouter.md 1): pydantic checks it, nothing is dropped.

The validated model serves checking, documentation and typed access; the body that travels on is the caller's own JSON
(`canonical`), so that a field nobody here has heard of still reaches the provider.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, model_validator
from typing_extensions import TypedDict

from completions import breadth, reasoning
from completions.breadth import FIRST_ONLY

Number = Annotated[float, Field(strict=False)]
Effort = Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]


MAX_LEVELS = 16
"""How deep a value may be nested that is kept with the record: real metadata has one level, a web search's location three."""


def _nests_within_limit(value: Any) -> Any:
    if _is_deeper_than(MAX_LEVELS, value):
        raise ValueError(f"nested deeper than {MAX_LEVELS} levels of objects and arrays, more than is kept; flatten it")
    return value


def _is_deeper_than(levels: int, value: Any) -> bool:
    """Looks no further down than `levels`, so that depth costs nothing."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper_than(levels - 1, part) for part in parts)


Kept = BeforeValidator(_nests_within_limit)
"""For fields of a free shape that are recorded as they came, or have no use for depth. What holds schemas and messages has."""


Objects = Annotated[list[dict[str, Any]], FIRST_ONLY]


class Part(TypedDict, extra_items=Any):  # type: ignore[call-arg]
    """A content part; each type has its own further fields (openrouter.md 1.2)."""

    type: str


class Message(TypedDict, total=False, extra_items=Any):  # type: ignore[call-arg]
    role: Annotated[Literal["system", "developer", "user", "assistant", "tool", "function"], Field()]
    content: str | Annotated[list[Part], FIRST_ONLY] | None
    name: str | None
    tool_call_id: str
    tool_calls: Objects | None


class Reasoning(BaseModel):
    model_config = ConfigDict(extra="allow")

    effort: Effort | None = None
    max_tokens: StrictInt | None = Field(None, ge=0)
    exclude: StrictBool | None = None
    enabled: StrictBool | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool | None = None


class ChatRequest(BaseModel):
    """`POST /chat/completions`. Only `messages` (or the legacy `prompt`) and `model` (or `models`) are needed."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    models: Annotated[list[Annotated[str, Field(min_length=1, max_length=300)]], FIRST_ONLY] | None = Field(
        None, max_length=20
    )
    messages: Annotated[list[Message], FIRST_ONLY] | None = Field(None, min_length=1, max_length=breadth.MAX_MESSAGES)
    prompt: str | None = None
    provider: dict[str, Any] | None = None
    plugins: Annotated[Objects | None, Kept] = Field(None, max_length=breadth.MAX_WORDS)
    tools: Objects | None = Field(None, max_length=breadth.MAX_TOOLS)
    tool_choice: Annotated[str | dict[str, Any] | None, Kept] = None
    parallel_tool_calls: StrictBool | None = None
    response_format: dict[str, Any] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: StrictInt | None = Field(None, ge=1)
    max_completion_tokens: StrictInt | None = Field(None, ge=1)
    n: StrictInt | None = Field(None, ge=1, le=128)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: StrictInt | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    top_a: float | None = Field(None, ge=0, le=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, ge=0, le=2)
    seed: StrictInt | None = None
    stop: str | Annotated[list[str], Field(fail_fast=True, max_length=breadth.MAX_WORDS)] | None = None
    logit_bias: Annotated[dict[str, float] | None, BeforeValidator(breadth.first_wrong_number)] = None
    logprobs: StrictBool | None = None
    top_logprobs: StrictInt | None = Field(None, ge=0, le=20)
    reasoning: Annotated[Reasoning | None, Kept] = None
    reasoning_effort: Effort | None = None
    include_reasoning: StrictBool | None = None
    modalities: Annotated[list[str], FIRST_ONLY] | None = Field(None, max_length=20)
    session_id: str | None = Field(None, max_length=256)
    prompt_cache_key: str | None = None
    user: str | None = None
    metadata: Annotated[dict[str, Any] | None, Kept] = None
    verbosity: Annotated[Any, Kept] = None
    web_search_options: Annotated[Any, Kept] = None

    @model_validator(mode="after")
    def _agree(self) -> ChatRequest:
        if self.messages is None and self.prompt is None:
            raise ValueError('`messages` is required: an array such as [{"role": "user", "content": "Hello"}]')
        if self.model is None and not self.models:
            raise ValueError("`model` is required: an id from GET /v1/models")
        for position, message in enumerate(self.messages or ()):
            if "role" not in message:
                raise ValueError(f"messages[{position}].role is required: system, developer, user, assistant or tool")
        asked = self.reasoning.effort if self.reasoning else None
        if asked and self.reasoning_effort and asked != self.reasoning_effort:
            raise ValueError(
                f"reasoning_effort={self.reasoning_effort!r} and reasoning.effort={asked!r} differ; send one of them"
            )
        return self

    @property
    def asked_models(self) -> tuple[str, ...]:
        """The models to try: `model` first, then `models`, each once."""
        names = ([self.model] if self.model else []) + (self.models or [])
        return tuple(dict.fromkeys(names))


_CONSUMED = frozenset({"model", "stream", "stream_options", "usage"})
"""What is acted on here; a dialect says it in its own words."""


def canonical(raw: dict[str, Any]) -> dict[str, Any]:
    """The caller's own JSON with its spellings unified: one `reasoning`, one `max_tokens`, `messages` instead of `prompt`.

    `raw` has passed `ChatRequest` and is not changed. Nulls are left out: everywhere in this API they mean "not given".
    """
    chat = {key: value for key, value in raw.items() if value is not None and key not in _CONSUMED}
    reasoning.unify(chat)
    if (limit := chat.pop("max_completion_tokens", None)) is not None:
        chat["max_tokens"] = limit
    prompt = chat.pop("prompt", None)
    if "messages" not in chat:
        chat["messages"] = [{"role": "user", "content": prompt}]
    return chat


SUPPORTED_PARAMETERS = frozenset(
    {
        "tools", "tool_choice", "parallel_tool_calls", "response_format", "temperature", "top_p", "top_k", "min_p", "top_a",
        "frequency_penalty", "presence_penalty", "repetition_penalty", "seed", "stop", "logit_bias", "logprobs",
        "top_logprobs", "max_tokens", "prediction", "reasoning", "verbosity", "web_search_options",
    }
)  # fmt: skip
"""Request fields that count as OpenRouter's `supported_parameters` of the same name."""

TEXT_ONLY = frozenset({"text"})
_PART_MODALITY = {
    "text": "text", "image_url": "image", "input_audio": "audio", "file": "file", "video_url": "video", "input_video": "video",
}  # fmt: skip


def parameters_of(chat: dict[str, Any]) -> frozenset[str]:
    """The `supported_parameters` that this request uses."""
    used = SUPPORTED_PARAMETERS & chat.keys()
    is_schema = "response_format" in used and (chat["response_format"] or {}).get("type") == "json_schema"
    return used | {"structured_outputs"} if is_schema else used


def measure(messages: list[dict[str, Any]]) -> tuple[int, frozenset[str]]:
    """Characters of text in `messages`, and the input modalities they use."""
    characters, modalities = 0, TEXT_ONLY
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            characters += len(content)
        elif content:
            for part in content:
                if part.get("type") == "text":
                    characters += len(part.get("text") or "")
                else:
                    modalities |= {_PART_MODALITY.get(part["type"], "text")}
        for call in message.get("tool_calls") or ():
            characters += len(str((call.get("function") or {}).get("arguments") or ""))
    return characters, modalities
