"""The console's place in admin: `ConsoleSite` is admin's own site with the dashboard as its index and the console's pages.

Every page is behind admin's login, CSRF check and `never_cache`. What each needs beyond being staff it asks itself.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver


class ConsoleSite(AdminSite):
    site_header = "LLM gateway"
    site_title = "LLM gateway"
    index_title = "Dashboard"
    index_template = "admin/console/dashboard.html"
    # The bar at the top leads to what is used every day, and pages keep their width; the dashboard lists everything.
    enable_nav_sidebar = False

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Admin's login, which takes long for those who guess."""
        from gateway_project.console.throttle import ThrottledLoginForm

        self.login_form = ThrottledLoginForm
        return super().login(request, extra_context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # The apps' models are not loaded yet when admin makes its site.
        from gateway_project.console import urls

        return [*urls.of(self), *super().get_urls()]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The dashboard, for those who may see what was used; for others the list of apps alone."""
        from gateway_project.console import dashboard

        shown = dashboard.context(request) if request.user.has_perm("accounting.view_usagetotal") else {}
        return super().index(request, {**shown, **(extra_context or {})})
