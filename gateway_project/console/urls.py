"""The addresses of the console's pages, all below /admin/console/."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path

from gateway_project.console import (
    adapter_test,
    discovery,
    export_page,
    playground,
    seeding,
    split_page,
    split_preview,
    traffic,
)


def of(site: AdminSite) -> list[URLPattern]:
    """The pages, each behind `site`'s login."""
    behind = site.admin_view
    split = "console/models/<int:pk>/split/"
    return [
        path("console/seed/", behind(seeding.show), name="console_seeding"),
        path("console/seed/upload/", behind(seeding.upload), name="console_seeding_upload"),
        path("console/seed/apply/", behind(seeding.apply), name="console_seeding_apply"),
        path("console/export/", behind(export_page.show), name="console_export"),
        path("console/export/<str:name>", behind(export_page.download), name="console_export_download"),
        path("console/providers/<int:pk>/models/", behind(discovery.show), name="console_discovery"),
        path("console/providers/<int:pk>/models/add/", behind(discovery.add), name="console_discovery_add"),
        path("console/adapters/<int:pk>/test/", behind(adapter_test.run), name="console_adapter_test"),
        path("console/playground/", behind(playground.show), name="console_playground"),
        # Asynchronous, which admin's wrapper is not: it checks the session itself.
        path("console/playground/answer/", playground.answer, name="console_playground_answer"),
        path("console/requests/<str:request_id>/trace/", behind(playground.trace), name="console_trace"),
        path("console/traffic/", behind(traffic.show), name="console_traffic"),
        path(split, behind(split_page.show), name="console_split"),
        path(f"{split}live/", behind(split_page.live), name="console_split_live"),
        path(f"{split}save/", behind(split_page.save), name="console_split_save"),
        path(f"{split}preview/", behind(split_preview.show), name="console_split_preview"),
        path(f"{split}restore/<int:entry_id>/", behind(split_page.restore), name="console_split_restore"),
    ]
