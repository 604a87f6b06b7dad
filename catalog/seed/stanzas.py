"""Kinds of providers: the stanzas that ship in `providers.yaml`, those of the operator's file over them, and which provider
a route means by its kind, base URL and key."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.utils.text import slugify

from catalog.limited import COLUMNS as LIMIT_COLUMNS
from catalog.models import Provider
from catalog.seed import fields
from catalog.seed.document import Document, Section, read, spell
from catalog.seed.problems import SeedRefused, suggestion
from catalog.seed.wanted import Origin, WantedProvider

SHIPPED = Path(__file__).resolve().parent.parent / "providers.yaml"

_QUIRKS = (
    "auth_header", "api_version", "max_tokens_field", "field_names", "extra_body", "reasoning_input", "reasoning_efforts",
    "reasoning_echo", "requires_reasoning_echo", "accepts_stream_options", "accepts_developer_role",
    "accepts_content_parts", "accepts_null_content", "accepts_unknown_fields", "accepts_json_schema",
    "accepts_cache_control", "tool_call_id_length", "speaks_openrouter", "continuation",
)  # fmt: skip
_POLICIES = ("collects_data", "has_zero_data_retention")
_PUBLISHED = ("privacy_policy_url", "terms_of_service_url", "status_page_url", "headquarters")
COLUMNS = {
    "name": "name",
    "dialect": "dialect",
    "local": "is_local",
    "enabled": "is_enabled",
    **{name: name for name in (*_QUIRKS, *_POLICIES, *_PUBLISHED)},
}
"""Fields of a stanza, and the columns of `Provider` they stand for."""
TIMEOUTS = {
    "connect": "connect_timeout_s",
    "first_byte": "first_byte_timeout_s",
    "idle": "idle_timeout_s",
    "total": "total_timeout_s",
}
"""The same of its field `timeouts`."""
FIELDS = ("kind", *COLUMNS, "base_url", "api_key", "api_keys", "headers", "timeouts", "limits")
"""Every field of a stanza."""

_WRITTEN = (
    *COLUMNS.values(), *TIMEOUTS.values(), *LIMIT_COLUMNS.values(), "base_url", "api_key", "api_keys", "extra_headers",
)  # fmt: skip
_SLUG_LENGTH = 50
_VARIABLE = re.compile(r"\$\{(\w+)")


class Kinds:
    """The known kinds of providers, and the providers that routes have asked for so far."""

    def __init__(self) -> None:
        self._stanzas: dict[str, dict[str, Any]] = dict(shipped())
        self._wanted: dict[str, WantedProvider] = {}

    def add(self, top: Section) -> None:
        """Take over the stanzas of the operator's file: their providers are asked for even where no route uses them."""
        for kind, (stanza, section) in _stanzas(top, self._stanzas).items():
            self._stanzas[kind] = stanza
            self._want(kind, stanza, section)

    def provider(self, kind: str, base_url: str | None, api_key: str | None, section: Section) -> WantedProvider | None:
        """The provider of a route. None where there is none, which has then been complained about."""
        slug = slugify(kind)
        stanza = self._stanzas.get(slug)
        if stanza is None:
            if not base_url:
                section.complain(
                    f"{kind!r} is no known kind and the route gives no base_url. {suggestion(kind, self._stanzas)} "
                    "Any other name needs a base_url (an OpenAI-compatible API) or a stanza under providers",
                    "kind" if "kind" in section.values else "provider",
                )
                return None
            if not slug or len(slug) > _SLUG_LENGTH:
                section.complain(f"must be a name of 1 to {_SLUG_LENGTH} letters and digits", "kind")
                return None
            stanza = self._stanzas[slug] = {"name": kind, "base_url": base_url, "api_key": api_key or ""}
        parts = [slug]
        if base_url and base_url != stanza["base_url"]:
            parts.append(_host(base_url))
        if api_key and api_key != stanza.get("api_key", ""):
            parts.append(_variable(api_key))
        if len(parts) == 1:
            return self._want(slug, stanza, section)
        own = {**stanza, "name": f"{stanza['name']} ({', '.join(parts[1:])})"[:100]}
        own |= {key: value for key, value in (("base_url", base_url), ("api_key", api_key)) if value}
        if api_key:
            own["api_keys"] = []
        return self._want("-".join(parts)[:_SLUG_LENGTH].rstrip("-"), own, section)

    def _want(self, slug: str, stanza: Mapping[str, Any], section: Section) -> WantedProvider | None:
        written = {column: stanza.get(column, fields.default(Provider, column)) for column in _WRITTEN}
        values = {"slug": slug, **written}
        known = self._wanted.get(slug)
        if known is None:
            origin = Origin(section.source.file, section.line(), spell(section.place))
            known = self._wanted[slug] = WantedProvider(slug, values, origin)
        elif known.values != values:
            section.complain(
                f"would be provider {slug}, as is line {known.origin.line}, but with another base_url or api_key. Give it a "
                "stanza with a kind of its own under providers"
            )
            return None
        return known

    def wanted(self) -> tuple[WantedProvider, ...]:
        """Every provider asked for, in the order of the asking."""
        return tuple(self._wanted.values())


@functools.cache
def shipped() -> Mapping[str, dict[str, Any]]:
    """The stanzas of `providers.yaml` by kind, as values of `Provider` columns.

    Read once in a process: the file is part of the program.
    """
    top = read(Document.at(SHIPPED))
    stanzas = _stanzas(top, {})
    if top.source.problems:
        raise SeedRefused(top.source.problems)
    return {kind: stanza for kind, (stanza, _) in stanzas.items()}


def _stanzas(top: Section, known: Mapping[str, dict[str, Any]]) -> dict[str, tuple[dict[str, Any], Section]]:
    """Each stanza of a file by its kind, over what is `known` of the kind, with its place."""
    found: dict[str, tuple[dict[str, Any], Section]] = {}
    for section in top.sections("providers"):
        kind = section.values.get("kind")
        if not isinstance(kind, str) or slugify(kind) != kind or len(kind) > _SLUG_LENGTH:
            section.complain("must be a short lower-case name with letters, digits and -, e.g. acme", "kind")
            continue
        if kind in found:
            section.complain(f"{kind} has a stanza already (line {found[kind][1].line()}); keep one", "kind")
            continue
        stanza = {**known.get(kind, {"name": kind}), **_stanza(section)}
        if "base_url" in stanza:
            found[kind] = (stanza, section)
        elif not section.given("base_url"):
            section.complain("is missing; a new kind needs one, e.g. https://api.acme.example/v1", "base_url")
    return found


def _stanza(section: Section) -> dict[str, Any]:
    """What a stanza says, as values of `Provider` columns."""
    section.only(FIELDS)
    values = fields.columns(section, COLUMNS, Provider)
    timeouts = section.section("timeouts")
    timeouts.only(TIMEOUTS)
    values |= fields.columns(timeouts, TIMEOUTS, Provider) | fields.limits(section, Provider)
    for column, value in (
        ("base_url", fields.base_url(section)),
        ("api_key", fields.secret_or_none(section, "api_key")),
        ("api_keys", fields.secrets(section, "api_keys")),
        ("extra_headers", fields.headers(section)),
    ):
        if value is not None:
            values[column] = value
    return values


def _variable(reference: str) -> str:
    found = _VARIABLE.search(reference)
    return slugify(found[1].replace("_", "-")) if found else ""


def _host(base_url: str) -> str:
    """The part of a URL that tells providers of one kind apart: its variable, or host, port and unusual path."""
    if base_url.startswith("${"):
        return _variable(base_url)
    parts = urlsplit(base_url)
    path = "" if parts.path in ("", "/v1") else parts.path
    return slugify(re.sub(r"[^\w]+", "-", f"{parts.netloc}{path}").replace("_", "-"))
