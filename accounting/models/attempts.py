"""What attempts come to by hour. Written by `accounting.attempts`."""

from __future__ import annotations

from django.db import models

from catalog.models import Adapter


class HourlyAttempt(models.Model):
    """How many attempts at one adapter, of one hour's requests, came to one outcome.

    `HourlyUsage` is of requests, each of which counts where it ended; here each adapter that was asked for it counts.
    """

    pk = models.CompositePrimaryKey("hour", "adapter_id", "outcome")
    hour = models.DateTimeField(help_text="When the hour began (UTC). An attempt counts where its request arrived.")
    adapter = models.ForeignKey(Adapter, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    outcome = models.CharField(
        max_length=40, help_text="answered, given_up (its race was lost or its client left), or the type of its error."
    )
    n = models.BigIntegerField(default=0)
    retries = models.BigIntegerField(default=0, help_text="Of these, how many followed an attempt at the same adapter.")
    fallbacks = models.BigIntegerField(default=0, help_text="Of these, how many followed an attempt at another adapter.")
    last_at = models.DateTimeField(help_text="When the last of their requests arrived.")

    class Meta:
        db_table = "attempts_hourly"

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.adapter_id}: {self.n} {self.outcome}"
