"""How much may be asked of a provider, of one of its models, or by a key: the numbers, and where they come from.

Pure: values and rules alone. The counting is `routingapp.limits`'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MINUTE_S = 60
DAY_S = 86_400
VARIABLE = re.compile(r"(?P<provider>[A-Z][A-Z0-9_]*)_(?P<kind>RPM|TPM|RPD|TPD)_LIMIT")
"""Environment variables that override a provider's row, e.g. GEMINI_TPM_LIMIT or DEEPSEEK_TPM_LIMIT."""


class Rule(NamedTuple):
    """One limit on a rate: at most `limit` requests (or tokens, if `counts_tokens`) within `period_s` seconds."""

    name: str
    limit: int
    period_s: int
    counts_tokens: bool

    def __str__(self) -> str:
        return f"{self.limit} {'tokens' if self.counts_tokens else 'requests'} per {PERIOD_NAMES[self.period_s]}"


PERIOD_NAMES = {MINUTE_S: "minute", DAY_S: "day"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests and tokens per minute and per day, and how many requests may run at once; None: no limit."""

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    concurrency: int | None = None
    rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    """The limits on rates that are set, ready to be walked."""

    def __post_init__(self) -> None:
        rules = (
            ("rpm", self.rpm, MINUTE_S, False),
            ("tpm", self.tpm, MINUTE_S, True),
            ("rpd", self.rpd, DAY_S, False),
            ("tpd", self.tpd, DAY_S, True),
        )
        given = tuple(Rule(name, limit, period_s, tokens) for name, limit, period_s, tokens in rules if limit is not None)
        object.__setattr__(self, "rules", given)

    @property
    def is_none(self) -> bool:
        """Whether nothing is limited."""
        return not self.rules and self.concurrency is None


NO_LIMITS = Limits()


def variable(provider_slug: str, kind: str) -> str:
    """The name of the variable that sets limit `kind` (rpm, tpm …) of a provider: `GEMINI_TPM_LIMIT`."""
    return f"{provider_slug.upper().replace('-', '_')}_{kind.upper()}_LIMIT"


def amount(text: str) -> int:
    """The limit written as `text`. Raises `ValueError` with the rule for anything but a whole number above 0."""
    digits = text.strip().replace("_", "")
    if not (digits.isascii() and digits.isdigit() and int(digits) > 0):
        raise ValueError("must be a whole number above 0, e.g. 60")
    return int(digits)


def problems_of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each limit in the environment that is none, naming the variable. An empty one counts as unset."""
    for name, text in environment.items():
        if text and VARIABLE.fullmatch(name):
            try:
                amount(text)
            except ValueError as error:
                yield f"{name}={text!r} {error}; unset it for no limit"


def overridden(limits: Limits, provider_slug: str, lookup: Callable[[str], str | None]) -> Limits:
    """`limits` with what the environment says of that provider instead."""
    given = {kind: lookup(variable(provider_slug, kind)) for kind in ("rpm", "tpm", "rpd", "tpd")}
    if not any(given.values()):
        return limits

    def chosen(kind: str, present: int | None) -> int | None:
        text = given[kind]
        return amount(text) if text else present

    return Limits(
        rpm=chosen("rpm", limits.rpm),
        tpm=chosen("tpm", limits.tpm),
        rpd=chosen("rpd", limits.rpd),
        tpd=chosen("tpd", limits.tpd),
        concurrency=limits.concurrency,
    )
