"""System checks of the deployment: what `manage.py check --deploy` says about this gateway's own settings."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register


@register()
def database_in_use(app_configs: Any, **kwargs: Any) -> list[Any]:
    """Said at every start: whoever sets DATABASE_URL believes that it is used."""
    if not settings.DATABASE_URL_IS_IGNORED:
        return []
    return [
        Warning(
            f"DATABASE_URL is set and not used: this gateway keeps everything in SQLite, {settings.SQLITE_PATH}",
            hint="Set USE_SQLITE_LOG=false as well to use it, or unset DATABASE_URL.",
            id="gateway.W007",
        )
    ]


@register(Tags.security, deploy=True)
def production_settings(app_configs: Any, **kwargs: Any) -> list[Any]:
    """What is convenient on a developer's machine and wrong in production."""
    found: list[Any] = []
    if settings.DEBUG:
        found.append(Error("DEBUG is on", hint="Unset DEBUG: error pages would show settings.", id="gateway.E001"))
    if settings.HTTPS_ONLY and not settings.FORWARDED_ALLOW_IPS:
        found.append(
            Error(
                "HTTPS_ONLY is set, but no proxy is believed that says so",
                hint="Set FORWARDED_ALLOW_IPS to the address of the proxy that speaks TLS; else nobody can log in to admin.",
                id="gateway.E002",
            )
        )
    if settings.SECRET_KEY_IS_GENERATED:
        found.append(
            Error(
                f"SECRET_KEY was generated into {settings.VAR_DIR}",
                hint="Set SECRET_KEY (or SECRET_KEY_FILE): with that directory every API key and session would be lost.",
                id="gateway.E003",
            )
        )
    if not settings.REQUIRE_API_KEY:
        found.append(Warning("Anybody may call the API without a key", hint="Set REQUIRE_API_KEY=true.", id="gateway.W002"))
    if settings.ALLOWED_HOSTS == ["*"]:
        found.append(
            Warning("Every Host header is accepted", hint="Set ALLOWED_HOSTS=gateway.example.org", id="gateway.W003")
        )
    if settings.USE_SQLITE_LOG:
        found.append(
            Warning(
                "Request logs go to SQLite",
                hint="One machine with moderate traffic is fine; for more set USE_SQLITE_LOG=false and DATABASE_URL.",
                id="gateway.W004",
            )
        )
    if not settings.REDIS_URL:
        found.append(
            Warning(
                "Each server process is on its own with limits, budgets, breakers, keys at rest and sessions",
                hint="Each starts from the spending that the database knows, and sees what others spend a second later; of "
                "providers it learns by its own requests. With more than one process set REDIS_URL.",
                id="gateway.W005",
            )
        )
    if not settings.HTTPS_ONLY:
        found.append(
            Warning(
                "Cookies of admin travel without TLS",
                hint="Let a proxy speak TLS (deploy/README.md), then set HTTPS_ONLY=true and FORWARDED_ALLOW_IPS.",
                id="gateway.W006",
            )
        )
    return found
