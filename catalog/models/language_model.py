"""What is served: models, and the further ids under which callers find them."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from catalog.validators import (
    model_id_validator,
    text_only,
    validate_modalities,
    validate_object,
    validate_pricing,
    validate_words,
)


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
