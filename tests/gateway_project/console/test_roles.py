"""Groups: who may do what, on every page of admin and of the console."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from catalog.models import Provider
from gateway_project.console import roles
from tests import factories

pytestmark = pytest.mark.django_db


def member(group: str) -> Client:
    user = User.objects.create_user(f"a-{group}", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def may(group: str, right: str) -> bool:
    user = User.objects.create_user(f"{group}-{right}", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user.has_perm(right)


def test_migrating_makes_the_groups():
    assert set(Group.objects.values_list("name", flat=True)) == {"viewer", "operator", "finance", "admin"}


def test_making_them_again_changes_nothing_and_keeps_what_was_added():
    viewer = Group.objects.get(name="viewer")
    extra = viewer.permissions.model.objects.get(codename="change_apikey")
    viewer.permissions.add(extra)
    before = set(viewer.permissions.all())
    roles.ensure()
    assert set(viewer.permissions.all()) == before


def test_what_a_group_has_lost_comes_back():
    viewer = Group.objects.get(name="viewer")
    before = set(viewer.permissions.all())
    viewer.permissions.clear()
    roles.ensure()
    assert set(viewer.permissions.all()) == before


def test_a_viewer_sees_every_list_and_changes_nothing():
    viewer = member("viewer")
    factories.adapter(weight=1)
    ours = [row for row in admin.site._registry if row._meta.app_label in roles.OURS]
    assert len(ours) > 8
    for row in ours:
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        assert viewer.get(reverse(f"{name}_changelist")).status_code == 200
        assert viewer.post(reverse(f"{name}_add"), {}).status_code == 403
        if first := row._default_manager.first():
            assert viewer.post(reverse(f"{name}_change", args=[first.pk]), {}).status_code == 403
            assert viewer.post(reverse(f"{name}_delete", args=[first.pk]), {"post": "yes"}).status_code == 403
    assert viewer.get("/admin/console/playground/").status_code == 403
    assert Provider.objects.count() == 1


@pytest.mark.parametrize(
    ("group", "right", "has"),
    [
        ("viewer", "accounting.view_requestlog", True),
        ("viewer", roles.USE_PLAYGROUND, False),
        ("operator", "routingapp.change_routingweight", True),
        ("operator", roles.USE_PLAYGROUND, True),
        ("operator", "accounting.change_apikey", False),
        ("operator", "auth.change_user", False),
        ("finance", "accounting.change_apikey", True),
        ("finance", "routingapp.change_routingweight", False),
        ("finance", roles.USE_PLAYGROUND, False),
        ("admin", "auth.change_user", True),
        ("admin", "accounting.add_apikey", True),
    ],
)
def test_each_group_may_do_its_work_and_no_more(group, right, has):
    assert may(group, right) is has
