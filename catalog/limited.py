"""The columns in which a row says how much may be asked of what it describes."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models

from catalog.limits import Limits

COLUMNS = {
    "rpm": "rpm_limit",
    "tpm": "tpm_limit",
    "rpd": "rpd_limit",
    "tpd": "tpd_limit",
    "concurrency": "max_concurrency",
}
"""Limits as files name them, and their columns."""


def _limit(name: str, help_text: str = "") -> models.PositiveBigIntegerField[int | None, int | None]:
    return models.PositiveBigIntegerField(
        name, null=True, blank=True, validators=[MinValueValidator(1)], help_text=help_text
    )


class Limited(models.Model):
    """A row with limits. Empty: no limit."""

    rpm_limit = _limit("requests per minute")
    tpm_limit = _limit(
        "tokens per minute", help_text="Prompt and answer; max_tokens is reserved until the answer is there."
    )
    rpd_limit = _limit("requests per day")
    tpd_limit = _limit("tokens per day")
    max_concurrency = _limit("concurrent requests", help_text="A stream counts until it ends.")

    class Meta:
        abstract = True

    @property
    def limits(self) -> Limits:
        return Limits(self.rpm_limit, self.tpm_limit, self.rpd_limit, self.tpd_limit, self.max_concurrency)
