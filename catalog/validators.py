"""What a value of the catalogue's rows may be, each rule with its cure in the message. Rows use them; so does the seed."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from catalog.entries import is_reference
from catalog.prices import Prices, PricingError, plain
from gateway_project.errors import redact

MODALITIES = ("text", "image", "file", "audio", "video", "embeddings")
QUANTIZATIONS = (
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown",
)  # fmt: skip

model_id_validator = RegexValidator(
    r"^[~A-Za-z0-9][\w.+~/-]*(:[\w.-]+)?$",
    "Use letters, digits and . _ - + /, optionally one :variant at the end, e.g. acme/falcon-2 or acme/falcon-2:free.",
)


def validate_reference(value: str) -> None:
    """A secret is written as the name of an environment variable, never as itself."""
    if value and not is_reference(value):
        raise ValidationError(
            "Write the name of an environment variable, e.g. ${DEEPSEEK_API_KEY}; the key itself belongs in the "
            "environment (or in a file named by DEEPSEEK_API_KEY_FILE), never in the database."
        )


def validate_references(values: object) -> None:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValidationError('Give a list of references, e.g. ["${KEY_A}", "${KEY_B}"].')
    for value in values:
        validate_reference(value)


def validate_pricing(value: object) -> None:
    """An object of OpenRouter price keys and decimal strings, USD per token, perhaps with `overrides`."""
    try:
        prices = Prices.parse(value)
    except PricingError as error:
        raise ValidationError(str(error)) from error
    for known in (prices.known, *(override.known for override in prices.overrides)):
        for key in ("prompt", "completion"):
            if known.get(key, 0) >= 1:
                raise ValidationError(
                    f"{key}: {plain(known[key])} USD per token looks like a price per million tokens; divide by 1000000."
                )


def validate_modalities(value: object) -> None:
    if not isinstance(value, list) or not value or not set(value) <= set(MODALITIES):
        raise ValidationError(f'Give a list of {", ".join(MODALITIES)}, e.g. ["text", "image"].')


def validate_words(value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError('Give a list of words, e.g. ["temperature", "tools"].')


def validate_object(value: object) -> None:
    if not isinstance(value, dict):
        raise ValidationError("Give a JSON object, e.g. {}.")


def validate_headers(value: object) -> None:
    """Headers are stored and shown as they are: what looks like a key does not belong in them."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValidationError('Give an object of texts, e.g. {"X-Team": "search"}.')
    for name, text in value.items():
        if redact(f" {name}={text}") != f" {name}={text}" or name.lower() in ("authorization", "x-api-key", "api-key"):
            raise ValidationError(f"{name}: secrets do not belong here; name an environment variable in `api key` instead.")


def validate_field_names(value: object) -> None:
    if not isinstance(value, dict) or not all(name is None or (isinstance(name, str) and name) for name in value.values()):
        raise ValidationError(
            'Give an object of names, null for what is left out, e.g. {"seed": "random_seed", "user": null}.'
        )


def text_only() -> list[str]:
    return ["text"]
