"""The number by which processes notice that the catalogue has changed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Revision(models.Model):
    """One row whose number grows with every change of what the request path uses. Database triggers maintain it."""

    number = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(name="revision_is_one_row", condition=Q(pk=1))]

    def __str__(self) -> str:
        return str(self.number)
