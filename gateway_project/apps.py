from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The composition root as an app: home of `manage.py serve` and of the system checks."""

    name = "gateway_project"
    verbose_name = "Gateway"

    def ready(self) -> None:
        from gateway_project import checks  # noqa: F401  registers itself
