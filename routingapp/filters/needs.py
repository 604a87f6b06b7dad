"""What the request itself needs: room, modalities, parameters."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry, ModelEntry
from routingapp.ask import Situation
from routingapp.filters.rule import Check, Prepare


def context_length(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    tokens = situation.ask.prompt_tokens

    def check(adapter: AdapterEntry) -> str | None:
        if tokens <= adapter.context_length:
            return None
        return f"the prompt has about {tokens} tokens, more than its context of {adapter.context_length}"

    for each in adapters:
        if tokens > each.context_length:
            return check
    return None


def max_output(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    tokens = situation.ask.max_output_tokens
    if tokens is None:
        return None
    return lambda adapter: (
        None
        if adapter.max_output_length is None or tokens <= adapter.max_output_length
        else f"max_tokens {tokens} is more than the {adapter.max_output_length} it can answer with"
    )


def modalities(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    ask = situation.ask
    if ask.input_modalities <= model.input_modalities and ask.output_modalities <= model.output_modalities:
        return None
    unread = sorted(ask.input_modalities - model.input_modalities)
    unwritten = sorted(ask.output_modalities - model.output_modalities)
    words = [f"does not take {', '.join(unread)} as input"] if unread else []
    words += [f"does not answer with {', '.join(unwritten)}"] if unwritten else []
    return lambda adapter: f"{model.id} {' and '.join(words)}"


def prefer_supporting(parameter: str) -> Prepare:
    """A soft preference: adapters without `parameter` are left out only where some other adapter has it."""

    def prepare(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
        if parameter not in situation.ask.parameters:
            return None
        if not any(parameter in adapter.supported_parameters for adapter in adapters):
            return None
        return lambda adapter: (
            None if parameter in adapter.supported_parameters else f"does not support {parameter}, as another adapter does"
        )

    return prepare
