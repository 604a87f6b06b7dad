"""Rows of accounting: who may call (`ApiKey`), what happened (`RequestLog`), and its sums by hour and for ever.

Every row but `ApiKey` is written by `accounting.ledger` alone.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from catalog.models import Adapter, LanguageModel
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


class RequestLogQuerySet(models.QuerySet["RequestLog"]):
    def between(self, start: datetime | None, end: datetime | None) -> RequestLogQuerySet:
        """Requests that arrived at `start` or later and before `end`; None leaves that side open."""
        found = self
        if start:
            found = found.filter(timestamp__gte=start)
        if end:
            found = found.filter(timestamp__lt=end)
        return found

    def failed(self) -> RequestLogQuerySet:
        return self.filter(status_code__gte=400)

    def after(self, timestamp: datetime, pk: int) -> RequestLogQuerySet:
        """What follows that row in order of arrival: a place to go on from that costs the same however far in it is."""
        return self.filter(Q(timestamp__gt=timestamp) | Q(timestamp=timestamp, pk__gt=pk), timestamp__gte=timestamp)

    def with_content(self) -> RequestLogQuerySet:
        """Requests whose prompt or answer is stored."""
        return self.filter(Q(prompt__isnull=False) | Q(response__isnull=False))


class RequestLog(models.Model):
    """One request, exactly once. Field meanings are on `accounting.record.Record`."""

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

    objects = RequestLogQuerySet.as_manager()

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


class PriceCorrection(models.Model):
    """A request that `manage.py reprice` has charged anew. Written in the transaction that changes the request; never edited."""

    request_id = models.CharField(max_length=40, db_index=True)
    requested_at = models.DateTimeField(help_text="When the request arrived.")
    old_cost_usd = models.DecimalField("old cost (USD)", max_digits=20, decimal_places=12)
    new_cost_usd = models.DecimalField("new cost (USD)", max_digits=20, decimal_places=12)
    old_prices = models.JSONField(null=True)
    new_prices = models.JSONField(null=True)
    corrected_at = models.DateTimeField(db_index=True)
    corrected_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["-corrected_at", "-id"]
        get_latest_by = "corrected_at"

    def __str__(self) -> str:
        return f"{self.request_id}: {self.old_cost_usd} to {self.new_cost_usd} USD"


class UsageTotal(models.Model):
    """Lifetime totals of one model at one adapter for one key: grows with every batch of request logs.

    Its protecting foreign keys are what refuses to delete a model, adapter or key that request logs name. An empty model or
    adapter stands for requests that named none that exists, so that the requests of all rows are all requests there were.
    """

    model = models.ForeignKey(LanguageModel, on_delete=models.PROTECT, null=True)
    adapter = models.ForeignKey(Adapter, on_delete=models.PROTECT, null=True)
    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True)
    requests = models.BigIntegerField(default=0)
    total_tokens = models.BigIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=24, decimal_places=12, default=0)
    last_used_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Coalesce("model", 0), Coalesce("adapter", 0), Coalesce("api_key", 0), name="usage_total_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model or 'no model'} at {self.adapter or 'no adapter'}: {self.requests} requests"


class HourlyUsage(models.Model):
    """What one model at one adapter did for one key in one hour. Statistics read these rows, never the request logs.

    Each request is one of `successes`, `errors` (a status of 400 or more, or a stream that broke) and `cancelled`.
    """

    hour = models.DateTimeField(help_text="When the hour began (UTC). A request counts where it arrived.")
    model_id = models.CharField(
        "model", max_length=200, blank=True, help_text="Empty: the caller asked for one that does not exist."
    )
    provider = models.CharField(max_length=100, blank=True)
    adapter = models.ForeignKey(Adapter, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    api_key = models.ForeignKey(ApiKey, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    requests = models.BigIntegerField(default=0)
    successes = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    cancelled = models.BigIntegerField(default=0, help_text="The client left before the end.")
    fallbacks = models.BigIntegerField(default=0, help_text="Needed more than one attempt.")
    estimated = models.BigIntegerField(default=0, help_text="The provider reported no usage.")
    streams = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    total_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    audio_tokens = models.BigIntegerField(default=0)
    image_tokens = models.BigIntegerField(default=0)
    latency_ms = models.BigIntegerField("latency, summed (ms)", default=0, help_text="Of successes.")
    cost_usd = models.DecimalField("cost (USD)", max_digits=24, decimal_places=12, default=0)

    class Meta:
        db_table = "usage_hourly"
        verbose_name_plural = "hourly usage"
        constraints = [
            models.UniqueConstraint(
                "hour", "model_id", Coalesce("adapter", 0), Coalesce("api_key", 0), name="usage_hourly_unique"
            ),
        ]
        indexes = [
            models.Index(name="usage_hourly_key", fields=["api_key", "hour"]),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.model_id or 'no model'}: {self.requests} requests"


class HourlyError(models.Model):
    """How many of an hour's errors were of one type (`gateway_project.errors.ERROR_TYPES`)."""

    pk = models.CompositePrimaryKey("usage_id", "error_type")
    usage = models.ForeignKey(HourlyUsage, on_delete=models.CASCADE, related_name="errors_by_type", db_index=False)
    error_type = models.CharField(max_length=40)
    n = models.BigIntegerField(default=0)

    class Meta:
        db_table = "usage_hourly_errors"

    def __str__(self) -> str:
        return f"{self.error_type}: {self.n}"


class HourlyBucket(models.Model):
    """One bucket (`accounting.sketch`) of an hour's latencies or times to the first token. Of successes only."""

    class Metric(models.TextChoices):
        LATENCY = "latency", "latency (ms)"
        TTFT = "ttft", "time to first token (ms)"

    pk = models.CompositePrimaryKey("usage_id", "metric", "bucket")
    usage = models.ForeignKey(HourlyUsage, on_delete=models.CASCADE, related_name="buckets", db_index=False)
    metric = models.CharField(max_length=10, choices=Metric.choices)
    bucket = models.SmallIntegerField()
    n = models.BigIntegerField(default=0)

    class Meta:
        db_table = "usage_hourly_buckets"

    def __str__(self) -> str:
        return f"{self.metric} bucket {self.bucket}: {self.n}"


class HourlySpread(models.Model):
    """One bucket of an hour's latencies and times to the first token, of all keys together.

    The same counts as `HourlyBucket`, without the key and with both metrics in one row: most statistics ask for no key, and what
    they cost must not grow with the number of keys.
    """

    hour = models.DateTimeField()
    model_id = models.CharField(max_length=200, blank=True)
    provider = models.CharField(max_length=100, blank=True)
    adapter = models.ForeignKey(Adapter, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    bucket = models.SmallIntegerField()
    latency = models.BigIntegerField(default=0)
    ttft = models.BigIntegerField(default=0)

    class Meta:
        db_table = "usage_hourly_spread"
        constraints = [
            models.UniqueConstraint(
                "hour", "model_id", "provider", Coalesce("adapter", 0), "bucket", name="usage_hourly_spread_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.model_id or 'no model'} bucket {self.bucket}: {self.latency}, {self.ttft}"
