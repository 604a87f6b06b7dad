"""Rows of accounting: who may call (`keys`), what happened (`requests`), and what it comes to by hour and
for ever (`sums`), by other stretches of time (`slots`), and by attempt (`attempts`).

Every row but `ApiKey` is written by `accounting.ledger` and the commands that correct or prune what it wrote.
"""

from accounting.models.attempts import HourlyAttempt
from accounting.models.keys import ApiKey
from accounting.models.requests import FAILED, FAULTY, PriceCorrection, RequestLog, RequestLogQuerySet
from accounting.models.slots import SlotUsage
from accounting.models.sums import HourlyError, HourlySketch, HourlySpread, HourlyUsage, UsageTotal

__all__ = [
    "FAILED",
    "FAULTY",
    "ApiKey",
    "HourlyAttempt",
    "HourlyError",
    "HourlySketch",
    "HourlySpread",
    "HourlyUsage",
    "PriceCorrection",
    "RequestLog",
    "RequestLogQuerySet",
    "SlotUsage",
    "UsageTotal",
]
