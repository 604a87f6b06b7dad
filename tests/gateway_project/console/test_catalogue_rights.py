"""Who may load, export and discover: the groups as they are made by `migrate`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from catalog.models import LanguageModel, Provider
from tests import factories
from tests.fakes import lists
from tests.fakes.lists import ListServer

pytestmark = pytest.mark.django_db

OK, REDIRECT, FORBIDDEN = 200, 302, 403
FILE = (
    b"models: [{id: heron, name: Heron, provider: acme}]\nproviders: [{kind: acme, base_url: 'https://acme.example/v1'}]\n"
)


def member(group: str) -> Client:
    user = User.objects.create_user(f"a-{group}", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def lister() -> Iterator[Provider]:
    with ListServer() as server:
        server.answer = lists.document({"data": [{"id": "falcon"}]})
        yield factories.provider("lister", base_url=server.base_url)


@pytest.mark.parametrize(
    ("group", "exports", "loads", "asks", "adds"),
    [
        ("viewer", OK, FORBIDDEN, FORBIDDEN, FORBIDDEN),
        ("finance", OK, FORBIDDEN, FORBIDDEN, FORBIDDEN),
        ("operator", OK, OK, OK, REDIRECT),
        ("admin", OK, OK, OK, REDIRECT),
    ],
)
def test_each_group_may_do_what_its_name_says(lister, group, exports, loads, asks, adds):
    client = member(group)
    discovery = f"/admin/console/providers/{lister.pk}/models/"
    assert client.get("/admin/console/export/").status_code == exports
    assert client.get("/admin/console/export/models.yaml").status_code == exports
    assert client.get("/admin/console/seed/").status_code == loads
    upload = {"models": SimpleUploadedFile("birds.yaml", FILE)}
    assert client.post("/admin/console/seed/upload/", upload).status_code == loads
    assert client.post(discovery).status_code == asks
    assert client.post(f"{discovery}add/", {"add": "falcon"}).status_code == adds
    assert LanguageModel.objects.filter(public_id="falcon").exists() is (adds == REDIRECT)


def test_strangers_are_sent_to_the_login(lister):
    for address in (
        "/admin/console/export/models.yaml",
        "/admin/console/seed/",
        f"/admin/console/providers/{lister.pk}/models/",
    ):
        response = Client().get(address)
        assert response.status_code == REDIRECT
        assert "/admin/login/" in response.headers["Location"]


def test_another_site_cannot_use_the_session(lister):
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.superuser())
    for address in ("seed/upload/", "seed/apply/", f"providers/{lister.pk}/models/", f"providers/{lister.pk}/models/add/"):
        assert client.post(f"/admin/console/{address}", {"add": "falcon"}).status_code == FORBIDDEN
    assert not LanguageModel.objects.exists()
