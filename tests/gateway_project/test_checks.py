"""What `manage.py check --deploy` says of a gateway's own settings."""

from __future__ import annotations

from django.core.checks import run_checks

from gateway_project import checks


def test_a_database_url_that_is_not_used_is_said_so(settings):
    settings.DATABASE_URL_IS_IGNORED = False
    assert checks.database_in_use(None) == []

    settings.DATABASE_URL_IS_IGNORED = True
    assert "gateway.W007" in {found.id for found in run_checks()}
    (warning,) = checks.database_in_use(None)
    assert "not used" in warning.msg
    assert "USE_SQLITE_LOG=false" in (warning.hint or "")


def test_processes_without_a_redis_are_told_what_each_has_to_itself(settings):
    settings.REDIS_URL = ""
    warning = next(found for found in checks.production_settings(None) if found.id == "gateway.W005")
    assert all(word in warning.msg for word in ("limits", "budgets", "breakers", "keys", "sessions"))
    assert "set REDIS_URL" in (warning.hint or "")

    settings.REDIS_URL = "redis://localhost:6379/0"
    assert "gateway.W005" not in {found.id for found in checks.production_settings(None)}
