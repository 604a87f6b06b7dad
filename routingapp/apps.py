from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routingapp"
    verbose_name = "Routing"

    def ready(self) -> None:
        from catalog import revision
        from routingapp import models

        revision.watch(models.RoutingWeight, models.RoutingPolicy)
