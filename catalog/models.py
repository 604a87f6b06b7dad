"""Rows of the catalogue: who serves (`Provider`), what is served (`LanguageModel`), and the two together (`Adapter`)."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from catalog.entries import Continuation, DialectName, ReasoningEcho, ReasoningInput
from catalog.limited import Limited
from catalog.validators import (
    QUANTIZATIONS,
    model_id_validator,
    text_only,
    validate_field_names,
    validate_headers,
    validate_modalities,
    validate_object,
    validate_pricing,
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


class LanguageModel(models.Model):
    """A model that callers can name, whoever serves it."""

    public_id = models.CharField(
        "id",
        max_length=200,
        unique=True,
        validators=[model_id_validator],
        help_text="What callers send as `model`, e.g. deepseek-chat or meta-llama/llama-4-scout.",
    )
    canonical_slug = models.CharField(
        max_length=200, blank=True, help_text="Permanent, usually dated id. Empty: the same as the id."
    )
    name = models.CharField(max_length=200)
    owned_by = models.CharField(max_length=100, help_text="Who made it, or the kind of the provider it was seeded from.")
    description = models.TextField(blank=True)
    is_enabled = models.BooleanField("enabled", default=True, help_text="Off: callers get 404 and /models leaves it out.")
    context_length = models.PositiveIntegerField(default=8192, help_text="Tokens, prompt and answer together.")
    max_output_length = models.PositiveIntegerField(default=4096, help_text="Tokens of the answer.")
    input_modalities = models.JSONField(default=text_only, validators=[validate_modalities])
    output_modalities = models.JSONField(default=text_only, validators=[validate_modalities])
    supports_tools = models.BooleanField(default=False)
    supports_structured_output = models.BooleanField(default=False)
    supported_parameters = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_words],
        help_text="Besides tools, response formats and reasoning. Empty: temperature, top_p and stop.",
    )
    default_parameters = models.JSONField(default=dict, blank=True, validators=[validate_object])
    reasoning = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_object],
        help_text='Only for reasoning models, e.g. {"mandatory": false, "default_enabled": true}.',
    )
    pricing = models.JSONField(
        default=dict, blank=True, validators=[validate_pricing], help_text="Published price, USD per token."
    )
    tokenizer = models.CharField(max_length=50, blank=True)
    hugging_face_id = models.CharField(max_length=200, blank=True)
    knowledge_cutoff = models.DateField(null=True, blank=True)
    expiration_date = models.DateField(null=True, blank=True)
    created = models.DateTimeField(default=timezone.now, help_text="Published as the model's creation date.")

    class Meta:
        ordering = ["public_id"]
        verbose_name = "model"
        constraints = [
            models.CheckConstraint(name="model_context_length_positive", condition=Q(context_length__gt=0)),
            models.CheckConstraint(
                name="model_output_fits_context",
                condition=Q(max_output_length__gt=0) & Q(max_output_length__lte=F("context_length")),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    def clean(self) -> None:
        if ModelAlias.objects.filter(alias=self.public_id).exclude(model_id=self.pk).exists():
            raise ValidationError({"public_id": f"{self.public_id} is already an alias of another model."})


class ModelAlias(models.Model):
    """A further id of a model. Callers who use it are routed, limited and counted as the model itself."""

    model = models.ForeignKey(LanguageModel, on_delete=models.CASCADE, related_name="aliases")
    alias = models.CharField(max_length=200, unique=True, validators=[model_id_validator])

    class Meta:
        ordering = ["alias"]
        verbose_name_plural = "model aliases"

    def __str__(self) -> str:
        return self.alias

    def clean(self) -> None:
        if LanguageModel.objects.filter(public_id=self.alias).exists():
            raise ValidationError({"alias": f"{self.alias} is the id of a model."})


class Adapter(Limited):
    """A model served by a provider."""

    model = models.ForeignKey(LanguageModel, on_delete=models.CASCADE, related_name="adapters")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="adapters")
    upstream_model = models.CharField(
        max_length=200, help_text="The provider's own id of the model, e.g. Llama-4-Scout-17B-16E-Instruct-FP8."
    )
    is_enabled = models.BooleanField("enabled", default=True)
    context_length = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the model's.")
    max_output_length = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the model's.")
    quantization = models.CharField(max_length=10, blank=True, choices=[(name, name) for name in QUANTIZATIONS])
    supported_parameters = models.JSONField(
        null=True, blank=True, validators=[validate_words], help_text="Empty: the model's."
    )

    class Meta:
        ordering = ["model", "provider"]
        constraints = [
            models.UniqueConstraint(name="adapter_unique", fields=["model", "provider", "upstream_model", "quantization"]),
            models.CheckConstraint(name="adapter_upstream_model_given", condition=~Q(upstream_model="")),
        ]

    def __str__(self) -> str:
        return f"{self.model} at {self.provider}"


class AdapterPriceQuerySet(models.QuerySet["AdapterPrice"]):
    def in_force(self) -> AdapterPriceQuerySet:
        """Prices whose time has come, also those that others have followed since."""
        return self.filter(effective_from__lte=timezone.now())

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raises `ProtectedError` where one of them has been in force."""
        _refuse_deletion(self.in_force())
        return super().delete()


class AdapterPrice(models.Model):
    """What a provider charges for a model from a moment on. History: a price in force is followed, never edited.

    A database trigger (`catalog.price_guard`) holds that. An adapter without rows costs its model's published price.
    """

    adapter = models.ForeignKey(Adapter, on_delete=models.CASCADE, related_name="prices")
    effective_from = models.DateTimeField(
        default=timezone.now,
        help_text="In the future: comes into force by itself. In the past: then `manage.py reprice` corrects what was charged.",
    )
    pricing = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_pricing],
        help_text="USD per token, zeros where it is free. Empty: the model's published price again.",
    )
    note = models.CharField(max_length=200, blank=True, help_text="Why, or from where, e.g. the provider's announcement.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AdapterPriceQuerySet.as_manager()

    class Meta:
        ordering = ["adapter", "-effective_from"]
        verbose_name = "price"
        constraints = [
            models.UniqueConstraint(
                name="adapter_price_unique",
                fields=["adapter", "effective_from"],
                violation_error_message="This adapter has a price from that moment on already; give another moment.",
            )
        ]

    def __str__(self) -> str:
        return f"from {self.effective_from:%Y-%m-%d %H:%M}"

    @property
    def is_in_force(self) -> bool:
        """Whether it is stored and its time has come, even if another price has followed since."""
        return not self._state.adding and self.effective_from <= timezone.now()

    def clean(self) -> None:
        if self.pricing == {}:
            raise ValidationError({"pricing": 'An empty object says nothing; for a free model {"prompt": "0"}.'})

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Raises `ProtectedError` if it has been in force. Those of an adapter go with the adapter."""
        _refuse_deletion(AdapterPrice.objects.filter(pk=self.pk).in_force())
        return super().delete(*args, **kwargs)


def _refuse_deletion(prices: AdapterPriceQuerySet) -> None:
    charged: set[models.Model] = set(prices)
    if charged:
        raise models.ProtectedError("A price that has been in force is history; add one that follows it instead.", charged)


class SeededRow(models.Model):
    """What `loadmodels` last wrote into a row, so that a later edit in admin is recognised and kept.

    `values` is compared with the row's present values: where they differ, somebody has edited the row since. `row_id` is
    the row's primary key, so that a row renamed in admin is still known as the one that the file means by `key`.
    """

    kind = models.CharField(max_length=30)
    key = models.CharField(max_length=600)
    row_id = models.BigIntegerField()
    values = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(name="seeded_row_unique", fields=["kind", "key"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Revision(models.Model):
    """One row whose number grows with every change of what the request path uses. Database triggers maintain it."""

    number = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(name="revision_is_one_row", condition=Q(pk=1))]

    def __str__(self) -> str:
        return str(self.number)
