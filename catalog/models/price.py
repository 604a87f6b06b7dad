"""What adapters cost, as history."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from catalog.models.adapter import Adapter
from catalog.validators import validate_pricing


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
