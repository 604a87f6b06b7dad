"""Who serves: local engines and hosted APIs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.text import slugify

from catalog.entries import Continuation, DialectName, ReasoningEcho, ReasoningInput
from catalog.limited import Limited
from catalog.validators import (
    validate_field_names,
    validate_headers,
    validate_object,
    validate_reference,
    validate_references,
    validate_words,
)


def dialect_choices() -> list[tuple[str, str]]:
    """Every dialect there is. A function, so that a new one needs no migration; the loader refuses what is none."""
    return [(name.value, name.value) for name in DialectName]


class Provider(Limited):
    """A place that serves models: a local engine or a hosted API."""

    slug = models.SlugField(
        unique=True, help_text="By this callers name it in provider.order and provider.only, e.g. deepseek."
    )
    name = models.CharField(max_length=100, help_text="Shown to callers as `provider`, e.g. DeepSeek.")
    dialect = models.CharField(
        max_length=20,
        choices=dialect_choices,
        default=DialectName.OPENAI.value,
        help_text="How it is spoken to. Everything OpenAI-compatible is `openai`.",
    )
    base_url = models.CharField(
        max_length=500,
        help_text="Including the version path, e.g. https://api.deepseek.com/v1 or ${LOCAL_BASE_URL}.",
    )
    api_key = models.CharField(
        max_length=200,
        blank=True,
        validators=[validate_reference],
        help_text="Name of the environment variable that holds the key, as ${NAME}. Empty: no key is sent.",
    )
    api_keys = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_references],
        help_text='More keys of the same account pool, as references: ["${KEY_2}", "${KEY_3}"].',
    )
    is_local = models.BooleanField(
        "local engine",
        default=False,
        help_text="Runs on our own hardware: switched off by hard offload, health-checked.",
    )
    is_enabled = models.BooleanField("enabled", default=True)
    connect_timeout_s = models.FloatField("connect timeout (s)", default=5, validators=[MinValueValidator(0.1)])
    first_byte_timeout_s = models.FloatField(
        "first byte timeout (s)",
        default=60,
        validators=[MinValueValidator(0.1)],
        help_text="Streams: until the first content. After it the next adapter is tried.",
    )
    idle_timeout_s = models.FloatField(
        "idle timeout (s)",
        default=120,
        validators=[MinValueValidator(0.1)],
        help_text="Streams: the longest silence once content flows.",
    )
    total_timeout_s = models.FloatField(
        "total timeout (s)",
        default=1800,
        validators=[MinValueValidator(0.1)],
        help_text="The whole answer, streamed or not.",
    )
    extra_headers = models.JSONField(
        default=dict, blank=True, validators=[validate_headers], help_text="Sent with every request. No secrets here."
    )
    auth_header = models.CharField(
        max_length=50,
        default="Authorization",
        help_text="Authorization sends `Bearer KEY`; any other header, e.g. api-key, sends the key alone.",
    )
    api_version = models.CharField(max_length=30, blank=True, help_text="Sent as ?api-version=…, for Azure OpenAI.")
    max_tokens_field = models.CharField(
        max_length=30,
        default="max_tokens",
        choices=[("max_tokens", "max_tokens"), ("max_completion_tokens", "max_completion_tokens")],
    )
    field_names = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_field_names],
        help_text='What it calls a field of the request, null for one that it refuses: {"seed": "random_seed", "user": null}.',
    )
    extra_body = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_object],
        help_text='Sent with every request that does not say otherwise, e.g. {"reasoning_split": true}. No secrets here.',
    )
    reasoning_input = models.CharField(
        max_length=30,
        choices=[(kind.value, kind.value) for kind in ReasoningInput],
        default=ReasoningInput.EFFORT.value,
        help_text="The field in which the provider is asked to reason.",
    )
    reasoning_efforts = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_words],
        help_text='The efforts it knows, e.g. ["low", "high"]; others are rounded up. Empty: all, or on and off alone.',
    )
    reasoning_echo = models.CharField(
        max_length=30,
        choices=[(kind.value, kind.value) for kind in ReasoningEcho],
        default=ReasoningEcho.NOTHING.value,
        help_text="What of an earlier answer's reasoning is sent back to the provider.",
    )
    requires_reasoning_echo = models.BooleanField(
        default=False, help_text="On: refuses conversations with tools in which an answer's reasoning is missing."
    )
    accepts_stream_options = models.BooleanField(default=True, help_text="Off: usage of streams cannot be asked for.")
    accepts_developer_role = models.BooleanField(default=False, help_text="Off: developer messages are sent as system.")
    accepts_content_parts = models.BooleanField(default=True, help_text="Off: text parts are joined to one string.")
    accepts_null_content = models.BooleanField(default=True, help_text='Off: null content is sent as "".')
    accepts_unknown_fields = models.BooleanField(default=True, help_text="Off: only OpenAI's own fields are sent.")
    accepts_json_schema = models.BooleanField(
        default=True, help_text="Off: a json_schema response format is sent as json_object, the schema as an instruction."
    )
    accepts_cache_control = models.BooleanField(
        default=False, help_text="On: cache_control markers are passed on. OpenRouter's always are."
    )
    tool_call_id_length = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(64)],
        help_text="Ids of tool calls are made of so many letters and digits, e.g. 9 for Mistral. 0: any id will do.",
    )
    speaks_openrouter = models.BooleanField(
        default=False, help_text="On: OpenRouter's own fields (plugins, provider, reasoning …) are passed on."
    )
    continuation = models.CharField(
        max_length=30,
        choices=[(kind.value, kind.value) for kind in Continuation],
        default=Continuation.NONE.value,
        help_text="How an answer that broke off is continued.",
    )
    collects_data = models.BooleanField(
        default=True,
        help_text="May store prompts or train on them: left out where callers send data_collection: deny. Local engines "
        "never count as collecting.",
    )
    has_zero_data_retention = models.BooleanField(
        "zero data retention",
        default=False,
        help_text="By contract keeps nothing of a request: may serve callers who send zdr: true, as local engines may.",
    )
    privacy_policy_url = models.URLField(blank=True)
    terms_of_service_url = models.URLField(blank=True)
    status_page_url = models.URLField(blank=True)
    headquarters = models.CharField(max_length=2, blank=True, help_text="ISO 3166 country code, e.g. US.")

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(name="provider_base_url_given", condition=~Q(base_url="")),
            models.CheckConstraint(name="provider_dialect_given", condition=~Q(dialect="")),
            models.CheckConstraint(
                name="provider_timeouts_positive",
                condition=Q(connect_timeout_s__gt=0)
                & Q(first_byte_timeout_s__gt=0)
                & Q(idle_timeout_s__gt=0)
                & Q(total_timeout_s__gt=0),
            ),
            models.CheckConstraint(
                name="provider_api_key_is_reference", condition=Q(api_key="") | Q(api_key__startswith="${")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if not re.match(r"^(https?://|\$\{)", self.base_url):
            raise ValidationError({"base_url": "Start with http://, https:// or a ${VARIABLE}."})
        if "@" in urlsplit(self.base_url).netloc or "?" in self.base_url:
            raise ValidationError(
                {"base_url": "Leave out user, password and query; a key belongs in `api key`, as ${NAME}."}
            )
        self.base_url = self.base_url.rstrip("/")
        if self.slug != slugify(self.slug):
            raise ValidationError(
                {"slug": f"Write it in lower-case letters and digits, e.g. {slugify(self.slug) or 'acme'}."}
            )
