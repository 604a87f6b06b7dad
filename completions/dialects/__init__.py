"""The registry of wire dialects: one line each. `base` says what a dialect is; `tests/wire/` holds what each must pass."""

from __future__ import annotations

from catalog.entries import DialectName
from completions.dialects.anthropic import Anthropic
from completions.dialects.base import Dialect
from completions.dialects.gemini import Gemini
from completions.dialects.openai import OpenAI

DIALECTS: dict[DialectName, Dialect] = {dialect.name: dialect for dialect in (OpenAI(), Gemini(), Anthropic())}
