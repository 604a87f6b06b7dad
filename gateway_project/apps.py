from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The composition root as an app: home of `manage.py serve` and of the system checks."""

    name = "gateway_project"
    verbose_name = "Gateway"

    def ready(self) -> None:
        from django.conf import settings

        from catalog import environment
        from gateway_project import checks, embedded, errors  # noqa: F401  checks registers itself
        from gateway_project.console import roles

        roles.follow_migrations()
        environment.announce(embedded.VARIABLE, embedded.find_running, absence=embedded.ABSENCE)

        for secret in (settings.SECRET_KEY, settings.METRICS_TOKEN, settings.ALERT_WEBHOOK_URL):
            errors.conceal(secret)
