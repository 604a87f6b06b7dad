"""A model and a provider together: what requests are sent to."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from catalog.limited import Limited
from catalog.models.language_model import LanguageModel
from catalog.models.provider import Provider
from catalog.validators import QUANTIZATIONS, validate_words


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
