"""Rows of accounting: who may call (`ApiKey`), what happened (`RequestLog`), and lifetime totals (`UsageTotal`)."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from catalog.models import Adapter, LanguageModel, validate_words


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


class RequestLog(models.Model):
    """One request, exactly once. Written by `accounting.ledger` alone; field meanings are on `accounting.record.Record`."""

    request_id = models.CharField(max_length=40, unique=True)
    timestamp = models.DateTimeField(help_text="When the request arrived.")
    endpoint = models.CharField(max_length=20, default="chat")
    model_id = models.CharField("model", max_length=200)
    requested_model = models.CharField(max_length=200, blank=True)
    provider = models.CharField(max_length=100, blank=True)
    adapter = models.ForeignKey(Adapter, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    upstream_model = models.CharField(max_length=200, blank=True)
    upstream_id = models.CharField(max_length=200, null=True)  # noqa: DJ001  null: the provider gave none
    api_key = models.ForeignKey(ApiKey, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    user_id = models.CharField(max_length=256, null=True)  # noqa: DJ001
    session_id = models.CharField(max_length=256, null=True)  # noqa: DJ001
    status_code = models.PositiveSmallIntegerField()
    error = models.TextField(null=True)  # noqa: DJ001
    error_type = models.CharField(max_length=40, null=True)  # noqa: DJ001
    finish_reason = models.CharField(max_length=40, null=True)  # noqa: DJ001
    native_finish_reason = models.CharField(max_length=80, null=True)  # noqa: DJ001
    stream = models.BooleanField(default=False)
    is_cancelled = models.BooleanField(default=False, help_text="The client left before the end.")
    is_estimated = models.BooleanField(default=False, help_text="The provider reported no usage.")
    latency_ms = models.PositiveIntegerField(default=0)
    ttft_ms = models.PositiveIntegerField("time to first token (ms)", null=True)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    total_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_tokens = models.PositiveIntegerField(default=0)
    audio_tokens = models.PositiveIntegerField(default=0)
    image_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField("cost (USD)", max_digits=20, decimal_places=12, default=0)
    prices = models.JSONField(null=True, help_text="What was charged per token.")
    temperature = models.FloatField(null=True)
    top_p = models.FloatField(null=True)
    max_tokens = models.BigIntegerField(null=True)
    seed = models.BigIntegerField(null=True)
    parameters = models.JSONField(null=True)
    metadata = models.JSONField(null=True)
    http_referer = models.CharField(max_length=500, blank=True)
    app_title = models.CharField(max_length=200, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    prompt = models.TextField(null=True)  # noqa: DJ001  null: not stored
    response = models.TextField(null=True)  # noqa: DJ001
    prompt_hash = models.CharField(max_length=64, null=True)  # noqa: DJ001
    plan = models.JSONField(null=True, help_text="Every adapter that was considered, and why it was or was not used.")
    attempts = models.JSONField(default=list)

    class Meta:
        db_table = "api_logs"
        ordering = ["-timestamp", "-id"]
        verbose_name = "request"
        indexes = [
            models.Index(name="api_logs_time", fields=["-timestamp", "-id"]),
            models.Index(name="api_logs_model_time", fields=["model_id", "-timestamp"]),
            models.Index(name="api_logs_key_time", fields=["api_key", "-timestamp"]),
            models.Index(name="api_logs_errors", fields=["-timestamp"], condition=Q(status_code__gte=400)),
        ]

    def __str__(self) -> str:
        return self.request_id


class UsageTotal(models.Model):
    """Lifetime totals of one model at one adapter for one key: grows with every batch of request logs.

    Its protecting foreign keys are what refuses to delete a model, adapter or key that request logs name.
    """

    model = models.ForeignKey(LanguageModel, on_delete=models.PROTECT)
    adapter = models.ForeignKey(Adapter, on_delete=models.PROTECT)
    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True)
    requests = models.BigIntegerField(default=0)
    total_tokens = models.BigIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=24, decimal_places=12, default=0)
    last_used_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint("model", "adapter", Coalesce("api_key", 0), name="usage_total_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.model} at {self.adapter}: {self.requests} requests"
