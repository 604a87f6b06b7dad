"""What requests come to by stretches of time shorter and longer than an hour, for charts. Written by `accounting.slots`."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Coalesce

from accounting.models.keys import ApiKey
from catalog.models import Adapter


class SlotUsage(models.Model):
    """What one model at one adapter did for one key in one slot: `grain_s` seconds from `start`. Sums as in `HourlyUsage`."""

    grain_s = models.IntegerField("length (s)")
    start = models.DateTimeField(help_text="When the slot began (UTC). A request counts where it arrived.")
    model_id = models.CharField("model", max_length=200, blank=True)
    provider = models.CharField(max_length=100, blank=True)
    adapter = models.ForeignKey(Adapter, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    api_key = models.ForeignKey(ApiKey, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    requests = models.BigIntegerField(default=0)
    successes = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    refusals = models.BigIntegerField(
        default=0, help_text="Errors that are the request's own or as the operator has set it: no failures of what serves."
    )
    cancelled = models.BigIntegerField(default=0)
    fallbacks = models.BigIntegerField(default=0)
    streams = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    total_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    image_tokens = models.BigIntegerField(default=0)
    cost_usd = models.DecimalField("cost (USD)", max_digits=24, decimal_places=12, default=0)
    ttft = models.BinaryField(default=b"", help_text="Times to the first token of successes, packed by accounting.sketch.")

    class Meta:
        db_table = "usage_slots"
        constraints = [
            models.UniqueConstraint(
                "grain_s", "start", "model_id", Coalesce("adapter", 0), Coalesce("api_key", 0), name="usage_slots_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.grain_s} s from {self.start:%Y-%m-%d %H:%M} {self.model_id or 'no model'}: {self.requests} requests"
