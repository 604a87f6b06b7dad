from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """Django admin with the console's site in the place of its own: `django.contrib.admin.site` is a `ConsoleSite`."""

    default_site = "gateway_project.console.site.ConsoleSite"
