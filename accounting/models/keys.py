"""Who may call."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from catalog.validators import validate_words


class ApiKey(models.Model):
    """A caller's credential. The secret is shown once; the row keeps a keyed hash and its first letters."""

    class Reset(models.TextChoices):
        NEVER = "", "never"
        DAILY = "daily", "every day (UTC)"
        WEEKLY = "weekly", "every Monday (UTC)"
        MONTHLY = "monthly", "on the first of the month (UTC)"

    name = models.CharField(max_length=200, help_text="Who or what uses it, e.g. ci or Ada's laptop.")
    hash = models.CharField(max_length=64, unique=True, editable=False)
    label = models.CharField(max_length=40, editable=False, help_text="First and last letters of the secret.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="api_keys"
    )
    is_management = models.BooleanField(
        "management key", default=False, help_text="May use the account endpoints (/keys, /stats, /routing …)."
    )
    is_disabled = models.BooleanField("disabled", default=False, help_text="On: answered 401 within a second.")
    expires_at = models.DateTimeField(null=True, blank=True)
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_words],
        help_text='Model ids, e.g. ["deepseek-chat"]. Empty: all.',
    )
    allowed_providers = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_words],
        help_text='Provider slugs, e.g. ["deepseek"]. Empty: all.',
    )
    limit_usd = models.DecimalField(
        "spend limit (USD)",
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="Empty: no limit.",
    )
    limit_reset = models.CharField(max_length=10, choices=Reset.choices, blank=True, default=Reset.NEVER)
    rpm_limit = models.PositiveIntegerField("requests per minute", null=True, blank=True)
    tpm_limit = models.PositiveIntegerField("tokens per minute", null=True, blank=True)
    max_concurrency = models.PositiveIntegerField(
        "concurrent requests", null=True, blank=True, help_text="A stream counts until it ends."
    )
    log_content = models.CharField(
        max_length=10,
        blank=True,
        choices=[("none", "nothing"), ("hash", "a hash of the prompt"), ("full", "prompts and answers")],
        help_text="Empty: as LOG_CONTENT says.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True, null=True)
    deleted_at = models.DateTimeField(
        null=True, editable=False, help_text="Deleted through the API, and kept because request logs name it."
    )

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                name="key_limit_not_negative", condition=Q(limit_usd__isnull=True) | Q(limit_usd__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.label})"
