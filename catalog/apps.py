from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CatalogConfig(AppConfig):
    name = "catalog"
    verbose_name = "Catalogue"

    def ready(self) -> None:
        from catalog import checks, models, price_guard, revision  # noqa: F401  checks registers itself

        revision.watch(models.Provider, models.LanguageModel, models.ModelAlias, models.Adapter, models.AdapterPrice)
        post_migrate.connect(revision.install_triggers, sender=self)
        post_migrate.connect(price_guard.install_triggers, sender=self)
