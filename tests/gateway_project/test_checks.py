"""What `manage.py check --deploy` says of a gateway's own settings."""

from __future__ import annotations

from gateway_project import checks


def test_processes_without_a_redis_are_told_what_each_has_to_itself(settings):
    settings.REDIS_URL = ""
    warning = next(found for found in checks.production_settings(None) if found.id == "gateway.W005")
    assert all(word in warning.msg for word in ("limits", "budgets", "breakers", "keys", "sessions"))
    assert "set REDIS_URL" in (warning.hint or "")

    settings.REDIS_URL = "redis://localhost:6379/0"
    assert "gateway.W005" not in {found.id for found in checks.production_settings(None)}
