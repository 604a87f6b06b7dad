"""The catalogue as the request path sees it: frozen views of rows, with every `${VAR}` resolved.

Pure: rows come in as plain values and the environment as an argument; nothing here knows Django.
"""

from __future__ import annotations

import difflib
import enum
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from catalog.limits import NO_LIMITS, Limits
from catalog.prices import Prices as Prices
from catalog.prices import Timeline, in_force

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<has_default>:-(?P<default>[^}]*))?\}")
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}")

Lookup = Callable[[str], str | None]
"""Gives the value of an environment variable, or None."""


class DialectName(enum.StrEnum):
    """The wire dialects that `completions.dialects` speaks."""

    OPENAI = "openai"
    GEMINI = "gemini"
    ANTHROPIC = "anthropic"


class ReasoningInput(enum.StrEnum):
    """How an OpenAI-compatible provider is asked to reason."""

    OPENROUTER = "reasoning"
    EFFORT = "reasoning_effort"
    THINKING = "thinking"
    ADAPTIVE_THINKING = "adaptive_thinking"
    CHAT_TEMPLATE = "chat_template_kwargs"
    NONE = "none"


class ReasoningEcho(enum.StrEnum):
    """What an OpenAI-compatible provider wants to see again of an earlier answer's reasoning."""

    NOTHING = "nothing"
    REASONING = "reasoning"
    REASONING_CONTENT = "reasoning_content"
    DETAILS = "reasoning_details"


class Continuation(enum.StrEnum):
    """How a provider is asked to go on with an assistant message that it has begun."""

    NONE = "none"
    VLLM = "continue_final_message"
    DEEPSEEK = "prefix"


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where an OpenAI-compatible provider differs from OpenAI. Each is one field of the `Provider` row."""

    auth_header: str = "Authorization"
    api_version: str = ""
    max_tokens_field: str = "max_tokens"
    field_names: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    """What it calls a field of the request; None: it refuses the field, which is therefore left out."""
    extra_body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Fields of its own, sent where the request does not set them."""
    reasoning_input: ReasoningInput = ReasoningInput.EFFORT
    reasoning_efforts: tuple[str, ...] = ()
    """The efforts it knows; none listed: any, or none beside an on and off switch."""
    reasoning_echo: ReasoningEcho = ReasoningEcho.NOTHING
    requires_reasoning_echo: bool = False
    accepts_stream_options: bool = True
    accepts_developer_role: bool = False
    accepts_content_parts: bool = True
    accepts_null_content: bool = True
    accepts_unknown_fields: bool = True
    accepts_json_schema: bool = True
    accepts_cache_control: bool = False
    tool_call_id_length: int = 0
    """Letters and digits in the id of a tool call; 0: any id will do."""
    speaks_openrouter: bool = False
    continuation: Continuation = Continuation.NONE


class Unconfigured(Exception):
    """A `${VAR}` without default is not set. `str()` is the reason as people read it."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"environment variable {variable} is not set")
        self.variable = variable


class NotAnnounced(Unconfigured):
    """A variable that another process tells is not set, and nobody tells it. `str()` says who would."""

    def __init__(self, variable: str, absence: str) -> None:
        super().__init__(variable)
        self.args = (absence,)


def resolve(text: str, lookup: Lookup) -> str:
    """`text` with `${VAR}` and `${VAR:-default}` replaced. An empty variable counts as unset.

    Raises `Unconfigured` naming the first variable that is unset and has no default.
    """

    def value(found: re.Match[str]) -> str:
        try:
            set_to = lookup(found["name"])
        except NotAnnounced:
            if not found["has_default"]:
                raise
            set_to = None
        if set_to:
            return set_to
        if found["has_default"]:
            return found["default"]
        raise Unconfigured(found["name"])

    return _VARIABLE.sub(value, text)


def is_reference(text: str) -> bool:
    """Whether `text` is exactly one `${NAME}` or `${NAME:-default}`: the only form in which a secret may be written."""
    return _REFERENCE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """Where requests go. `base_url` is resolved and has no trailing slash; `api_keys` are references, never values."""

    id: int
    slug: str
    name: str
    dialect: DialectName
    base_url: str
    api_keys: tuple[str, ...]
    is_local: bool
    connect_timeout_s: float
    first_byte_timeout_s: float
    idle_timeout_s: float
    total_timeout_s: float
    extra_headers: Mapping[str, str]
    quirks: Quirks = Quirks()
    unconfigured: str | None = None
    published: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    """What `/providers` tells of it beside its name: policies and country, null where unknown."""
    collects_data: bool = True
    has_zero_data_retention: bool = False
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """One model as one provider serves it. `unconfigured` says why it cannot be used now, None when it can.

    `prices` are those in force when the entry was made; `timeline` has all there were and those to come.
    """

    id: int
    model_id: str
    provider: ProviderEntry
    upstream_model: str
    is_enabled: bool
    prices: Prices
    context_length: int
    max_output_length: int | None
    quantization: str | None
    supported_parameters: frozenset[str]
    unconfigured: str | None
    timeline: Timeline = ()
    limits: Limits = NO_LIMITS
    reasons_by_default: bool | None = None
    """What the model's card says of requests that say nothing (`reasoning.default_enabled`); None where it says nothing."""

    @property
    def is_usable(self) -> bool:
        """Whether requests can go to it at all: it is switched on, and lacks nothing that it needs."""
        return self.is_enabled and self.unconfigured is None and self.provider.unconfigured is None

    @property
    def is_priced(self) -> bool:
        """Whether its price is known: zeros are a price. A local engine costs nothing where nobody says otherwise."""
        return bool(self.prices.known) or self.provider.is_local

    def prices_at(self, epoch_s: float) -> Prices:
        """What a request that arrived then is charged."""
        change = in_force(self.timeline, epoch_s)
        return (change.prices if change else self.prices).at(epoch_s)

    @property
    def tag(self) -> str:
        """OpenRouter's endpoint tag, by which a caller names just this adapter: `provider` or `provider/quantization`."""
        return f"{self.provider.slug}/{self.quantization}" if self.quantization else self.provider.slug


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that callers may name. `card` is its ready `/models` object (openrouter.md 5.1)."""

    id: str
    canonical_slug: str
    name: str
    aliases: tuple[str, ...]
    adapters: tuple[AdapterEntry, ...]
    input_modalities: frozenset[str]
    output_modalities: frozenset[str]
    card: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every enabled model, findable by id, alias and canonical slug. `prices_change_at`: when to read it again, at the latest."""

    models: tuple[ModelEntry, ...] = ()
    by_name: Mapping[str, ModelEntry] = field(default_factory=lambda: MappingProxyType({}))
    prices_change_at: float = math.inf

    @classmethod
    def of(cls, models: Iterable[ModelEntry], prices_change_at: float = math.inf) -> Catalogue:
        listed = tuple(models)
        by_name: dict[str, ModelEntry] = {}
        for model in listed:
            by_name.setdefault(model.canonical_slug, model)
        for model in listed:
            by_name.update(dict.fromkeys(model.aliases, model))
        by_name.update({model.id: model for model in listed})
        return cls(listed, MappingProxyType(by_name), prices_change_at)

    def find(self, name: str) -> ModelEntry | None:
        return self.by_name.get(name) or self.by_name.get(name.lower())

    def close_to(self, name: str, limit: int = 3) -> list[str]:
        """Ids that look like `name`, best first: for the message of a 404."""
        return difflib.get_close_matches(name[:200].lower(), list(self.by_name), n=limit, cutoff=0.5)
