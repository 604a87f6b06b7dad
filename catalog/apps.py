from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CatalogConfig(AppConfig):
    name = "catalog"
    verbose_name = "Catalogue"

    def ready(self) -> None:
        from catalog import models, revision

        revision.watch(models.Provider, models.LanguageModel, models.ModelAlias, models.Adapter)
        post_migrate.connect(revision.install_triggers, sender=self)
