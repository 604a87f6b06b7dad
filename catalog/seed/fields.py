"""Fields of a file checked as columns of a row: by the column's own validators, so that file and admin have the same rules.

What is checked comes out as JSON values, ready to be compared and kept. Secrets are never quoted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models

from catalog.entries import is_reference
from catalog.limited import COLUMNS as LIMIT_COLUMNS
from catalog.prices import OVERRIDES, PRICE_KEYS
from catalog.seed.document import Section
from catalog.seed.problems import suggestion
from catalog.validators import validate_pricing
from gateway_project.errors import redact

_KINDS: tuple[tuple[type[models.Field[Any, Any]], tuple[type, ...], str], ...] = (
    (models.BooleanField, (bool,), "true or false"),
    (models.IntegerField, (int,), "a whole number"),
    (models.FloatField, (int, float), "a number"),
    (models.DateTimeField, (datetime, date, int), "a date, e.g. 2026-11-22, or seconds since 1970"),
    (models.DateField, (date,), "a date, e.g. 2026-11-22"),
    (models.CharField, (str,), "text; put it in quotes"),
    (models.TextField, (str,), "text; put it in quotes"),
    (models.JSONField, (dict, list), "a mapping or a list"),
)
_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"})


def columns(section: Section, names: Mapping[Any, str], row: type[models.Model]) -> dict[str, Any]:
    """The given fields as `{column: JSON value}`. `names`: field of the file -> column of `row`. Faults are complained of."""
    values: dict[str, Any] = {}
    for name, target in names.items():
        if section.given(name):
            try:
                values[target] = _clean(section.values[name], column(row, target))
            except ValidationError as error:
                for message in error.messages:
                    section.complain(message, name)
    return values


def as_json(value: Any) -> Any:
    """`value` as JSON holds it: dates as ISO 8601 text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else value


def column(row: type[models.Model], name: str) -> models.Field[Any, Any]:
    """The column `name` of `row`, which is one of its own, never a relation from elsewhere."""
    return cast("models.Field[Any, Any]", row._meta.get_field(name))


def default(row: type[models.Model], name: str) -> Any:
    """The JSON value of a column that nobody has set."""
    return as_json(column(row, name).get_default())


def limits(section: Section, row: type[models.Model]) -> dict[str, Any]:
    """The limits given in field `limits`, as columns."""
    given = section.section("limits")
    given.only(LIMIT_COLUMNS)
    return columns(given, LIMIT_COLUMNS, row)


def pricing(section: Section) -> dict[str, Any]:
    """`{"pricing": prices}` checked price by price, so that each fault has its own line; `{}` where none is given."""
    if not section.given("pricing"):
        return {}
    prices = section.section("pricing")
    checked: dict[str, Any] = {}
    for key, value in prices.values.items():
        price = [_as_text(item) for item in value] if key == OVERRIDES and isinstance(value, list) else value
        price = _as_text({key: price})[key]
        try:
            validate_pricing({key: price})
            checked[key] = price
        except ValidationError as error:
            prices.complain(" ".join(error.messages), key)
    return {"pricing": checked}


def _as_text(prices: Any) -> Any:
    """`prices` with numbers that were written without quotes as decimal strings. Conditions of overrides stay numbers."""
    if not isinstance(prices, dict):
        return prices
    return {
        key: format(Decimal(str(price)), "f")
        if key in PRICE_KEYS and isinstance(price, int | float) and not isinstance(price, bool)
        else price
        for key, price in prices.items()
    }


def _clean(value: Any, target: models.Field[Any, Any]) -> Any:
    for kind, types, words in _KINDS:
        if isinstance(target, kind):
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise ValidationError(f"must be {words}")
            break
    if isinstance(target, models.DateTimeField):
        value = _moment(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError("must be a finite number")
    if target.choices and value not in dict(target.flatchoices):
        known = [str(choice) for choice, _ in target.flatchoices]
        raise ValidationError(f"{redact(str(value))[:50]!r} is not known. {suggestion(str(value), known)}")
    return as_json(target.clean(value, None))


def _moment(value: datetime | date | int) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return datetime.fromtimestamp(value, tz=UTC)


def secret(section: Section, key: str) -> str | None:
    """The reference in field `key`. A literal key is complained about, and never repeated."""
    if not section.given(key):
        return None
    value = section.values[key]
    return value if _is_safe_reference(section, key, value) else None


def secret_or_none(section: Section, key: str) -> str | None:
    """As `secret`; "" says that no key is sent, whatever else is known of the provider."""
    return "" if section.values.get(key) == "" else secret(section, key)


def secrets(section: Section, key: str) -> list[str] | None:
    """The list of references in field `key`."""
    if not section.given(key):
        return None
    value = section.values[key]
    if not isinstance(value, list):
        section.complain('must be a list of references, e.g. ["${KEY_A}", "${KEY_B}"]', key)
        return None
    return [item for item in value if _is_safe_reference(section, key, item)]


def _is_safe_reference(section: Section, key: str, value: Any) -> bool:
    if not isinstance(value, str) or not is_reference(value):
        section.complain(
            "must name an environment variable, e.g. ${DEEPSEEK_API_KEY}. Put the key itself into the environment, or into a "
            "file that DEEPSEEK_API_KEY_FILE names; it is never written here",
            key,
        )
        return False
    if redact(value) != value:
        section.complain(
            "has a default that looks like a real key; write ${NAME} alone and put the key into the environment", key
        )
        return False
    return True


def base_url(section: Section, key: str = "base_url") -> str | None:
    """The URL in field `key`, without a trailing slash and without credentials. May hold `${VAR}`s."""
    if not section.given(key):
        return None
    value = section.values[key]
    if not isinstance(value, str) or not value.startswith(("http://", "https://", "${")):
        section.complain("must start with http://, https:// or a ${VARIABLE}, e.g. https://api.deepseek.com/v1", key)
        return None
    if "@" in urlsplit(value).netloc or "?" in value or redact(value) != value:
        section.complain("must hold no user, password, key or query; a key belongs in api_key: ${NAME}", key)
        return None
    return value.rstrip("/")


def headers(section: Section, key: str = "headers") -> dict[str, str] | None:
    """The headers in field `key`. Those that carry secrets are refused."""
    if not section.given(key):
        return None
    given = section.section(key)
    for name, value in given.values.items():
        if not isinstance(value, str):
            given.complain("must be text; put it in quotes", name)
        elif name.lower() in _SECRET_HEADERS or redact(value) != value:
            given.complain("must hold no secret: name the key in api_key: ${NAME} and its header in auth_header", name)
    return dict(given.values)
