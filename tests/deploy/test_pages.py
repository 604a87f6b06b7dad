"""What browsers are told about pages: no inline script, and none is in a template."""

from __future__ import annotations

import re

import pytest

from gateway_project import checks
from gateway_project.content_policy import HEADER, POLICY
from tests.live import ROOT

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/(?:json|ld\+json)\")[^>]*>", re.I)
HANDLER = re.compile(r"<[^>]+\son[a-z]+\s*=", re.I)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/admin/login/"])
def test_every_page_carries_the_policy(client, path):
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers[HEADER] == POLICY
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_has_a_script_that_the_policy_would_stop(template):
    text = re.sub(r"{[{%].*?[%}]}", "", template.read_text())
    assert not INLINE_SCRIPT.findall(text)
    assert not HANDLER.findall(text)


def test_the_policy_would_find_what_it_forbids():
    assert INLINE_SCRIPT.findall("<script>alert(1)</script>")
    assert HANDLER.findall('<a class="x" onclick="go()">')
    assert not INLINE_SCRIPT.findall('<script src="x.js" defer></script><script type="application/json">{}</script>')


def test_https_without_a_believed_proxy_is_an_error(settings):
    settings.HTTPS_ONLY, settings.FORWARDED_ALLOW_IPS = True, ""
    assert "gateway.E002" in {found.id for found in checks.production_settings(None)}
    settings.FORWARDED_ALLOW_IPS = "127.0.0.1"
    found = {found.id for found in checks.production_settings(None)}
    assert "gateway.E002" not in found
    assert "gateway.W006" not in found


def test_cookies_without_tls_are_a_warning(settings):
    settings.HTTPS_ONLY = False
    assert "gateway.W006" in {found.id for found in checks.production_settings(None)}
