"""What happened: a row for each request, and one for each time it was charged anew."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q

from accounting.models.keys import ApiKey
from catalog.models import Adapter
from gateway_project.errors import DOMAINS, REFUSAL_DOMAINS

FAILED = Q(status_code__gte=400)
"""Not answered, whoever is to blame: the rows of the index of errors, refusals and clients that left among them."""
FAULTY = FAILED & Q(error_domain__in=DOMAINS - REFUSAL_DOMAINS)
"""Failures of providers and of the gateway."""


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
        return self.filter(FAILED)

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
    error_domain = models.CharField(max_length=10, null=True, help_text="Whose doing the error was.")  # noqa: DJ001
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
            models.Index(name="api_logs_errors", fields=["-timestamp"], condition=FAILED),
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
