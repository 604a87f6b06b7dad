"""What a load of the seed remembers."""

from __future__ import annotations

from django.db import models


class SeededRow(models.Model):
    """What `loadmodels` last wrote into a row, so that a later edit in admin is recognised and kept.

    `values` is compared with the row's present values: where they differ, somebody has edited the row since. `row_id` is
    the row's primary key, so that a row renamed in admin is still known as the one that the file means by `key`.
    """

    kind = models.CharField(max_length=30)
    key = models.CharField(max_length=600)
    row_id = models.BigIntegerField()
    values = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(name="seeded_row_unique", fields=["kind", "key"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
