"""Whose doing an error was, by request, and refusals in place of callers' errors in the sums."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

REFUSAL_TYPES = (
    "authentication", "invalid_request", "max_tokens_exceeded", "context_length_exceeded", "not_found", "payload_too_large",
    "payment_required", "permission_denied", "rate_limit_exceeded", "timeout", "unprocessable",
)  # fmt: skip


def judge_errors_so_far(apps: Any, schema_editor: Any) -> None:
    """As the sums have counted them: refused is what no adapter was asked for, if its type is one of requests themselves."""
    rows = apps.get_model("accounting", "RequestLog").objects.using(schema_editor.connection.alias)
    failed = rows.filter(status_code__gte=400, is_cancelled=False, error_domain=None)
    failed.filter(adapter=None, error_type__in=REFUSAL_TYPES).update(error_domain="caller")
    failed.update(error_domain="provider")


class Migration(migrations.Migration):
    dependencies = [
        ("accounting", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            "requestlog", "error_domain", models.CharField(help_text="Whose doing the error was.", max_length=10, null=True)
        ),
        migrations.RunPython(judge_errors_so_far, migrations.RunPython.noop),
        *(
            operation
            for name in ("hourlyusage", "slotusage")
            for operation in (
                migrations.RenameField(name, "caller_errors", "refusals"),
                migrations.AlterField(
                    name,
                    "refusals",
                    models.BigIntegerField(
                        default=0,
                        help_text="Errors that are the request's own or as the operator has set it: no failures of what serves.",
                    ),
                ),
            )
        ),
    ]
