"""Every path of the gateway. `asgi.py` decides which lane serves it."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path, re_path

from gateway_project import metrics, views
from gateway_project.api import api

urlpatterns = [
    path("", views.home, name="home"),
    path("health", views.health, name="health"),
    path("health/live", views.live, name="health-live"),
    path("health/ready", views.ready, name="health-ready"),
    path("metrics", metrics.page, name="metrics"),
    # One API under both prefixes: OpenRouter's and OpenAI's.
    re_path(r"^(?:api/)?v1/?$", views.api_root),
    re_path(r"^(?:api/)?v1/", api.urls),
    path("admin/", admin.site.urls),
]
