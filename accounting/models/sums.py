"""What requests come to: by hour, for statistics, and for ever."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Coalesce

from accounting.models.keys import ApiKey
from catalog.models import Adapter, LanguageModel


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
    refusals = models.BigIntegerField(
        default=0, help_text="Errors that are the request's own or as the operator has set it: no failures of what serves."
    )
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
    latency_ms = models.BigIntegerField(
        "latency, summed (ms)", default=0, help_text="Of requests with an answer, whole or not."
    )
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


class HourlySketch(models.Model):
    """An hour's latencies and times to the first token in milliseconds, as packed by `accounting.sketch`. Of successes only."""

    usage = models.OneToOneField(HourlyUsage, on_delete=models.CASCADE, primary_key=True, related_name="sketch")
    latency = models.BinaryField()
    ttft = models.BinaryField()

    class Meta:
        db_table = "usage_hourly_sketches"
        verbose_name_plural = "hourly sketches"

    def __str__(self) -> str:
        return f"latencies of hourly usage {self.usage_id}"


class HourlySpread(models.Model):
    """An hour's latencies and times to the first token, of all keys together.

    Adds up what `HourlySketch` keeps for each key: most statistics ask for no key, and what they cost must not grow with the
    number of keys.
    """

    hour = models.DateTimeField()
    model_id = models.CharField(max_length=200, blank=True)
    provider = models.CharField(max_length=100, blank=True)
    adapter = models.ForeignKey(Adapter, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    latency = models.BinaryField()
    ttft = models.BinaryField()

    class Meta:
        db_table = "usage_hourly_spread"
        constraints = [
            models.UniqueConstraint(
                "hour", "model_id", "provider", Coalesce("adapter", 0), name="usage_hourly_spread_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.model_id or 'no model'}: latencies of all keys"
