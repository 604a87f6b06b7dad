"""What happens to rows that are there when the gateway is upgraded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from accounting import store
from accounting.lines import encode
from accounting.models import HourlyUsage, RequestLog
from accounting.record import Record
from accounting.rows import read
from tests.accounting.conftest import Database

NewRecord = Callable[..., Record]
REFUSED = {"status_code": 404, "error_type": "not_found", "adapter_id": None}


@pytest.mark.parametrize(
    ("outcome", "domain"),
    [
        ({"status_code": 200}, None),
        ({"status_code": 499, "is_cancelled": True}, None),
        (REFUSED, "caller"),
        ({"status_code": 503, "error_type": "provider_unavailable", "adapter_id": None}, "provider"),
        ({"status_code": 429, "error_type": "rate_limit_exceeded"}, "provider"),
    ],
)
def test_errors_from_before_they_had_a_domain_are_judged_as_the_sums_have_counted_them(
    database: Database, new_record: NewRecord, outcome: dict[str, Any], domain: str | None
) -> None:
    asked = {"database": database.alias, "verbosity": 0}
    store.add([read(encode(new_record(database, **outcome, error_domain="caller")))], database.alias)
    call_command("migrate", "accounting", "0001", **asked)
    try:
        with connections[database.alias].cursor() as cursor:
            cursor.execute("UPDATE usage_hourly SET caller_errors = 7")
    finally:
        call_command("migrate", "accounting", **asked)

    assert RequestLog.objects.using(database.alias).get().error_domain == domain
    assert HourlyUsage.objects.using(database.alias).get().refusals == 7
