"""Who may do what in the console: four groups, made after every `migrate`, and the right to use the playground.

    viewer     sees everything but the contents' secrets, changes nothing, spends nothing
    operator   a viewer who also steers: catalogue, prices' adapters, weights, policies; and who may use the playground
    finance    a viewer who also sets prices and the limits of keys
    admin      everything, people and groups included

The groups are ours: what one of them lacks is added again at the next `migrate`, what somebody gives it on top stays. For other
bundles of rights, make groups of your own. Members need "staff status" to log in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models.signals import post_migrate

OURS = ("catalog", "routingapp", "accounting")
USE_PLAYGROUND = "catalog.use_playground"

_STEERED = ("provider", "languagemodel", "modelalias", "adapter", "routingweight", "routingpolicy")
_PRICED = ("adapterprice", "apikey")


def follow_migrations() -> None:
    """Have the groups made whenever `migrate` has run. Called once, when the apps are ready."""
    # The last of ours to be migrated; rights of all apps are made here anyway, whatever their order.
    post_migrate.connect(_after_migrate, sender=apps.get_app_config("accounting"), dispatch_uid="console.roles")


def _after_migrate(using: str = "default", **_: Any) -> None:
    ensure(using)


def ensure(using: str = "default") -> None:
    """Make the groups, and give each what it lacks. May be called as often as you like."""
    for label in (*OURS, "auth", "admin"):
        create_permissions(apps.get_app_config(label), verbosity=0, using=using)
    kind = ContentType.objects.db_manager(using).get(app_label="catalog", model="languagemodel")
    Permission.objects.using(using).get_or_create(
        content_type=kind, codename="use_playground", defaults={"name": "Can ask models in the playground"}
    )
    for name, rights in _rights(using).items():
        group, _ = Group.objects.using(using).get_or_create(name=name)
        group.permissions.add(*rights)


def _rights(using: str) -> dict[str, Iterable[Permission]]:
    every = Permission.objects.using(using).select_related("content_type")
    ours = [right for right in every if right.content_type.app_label in OURS]
    views = [right for right in ours if right.codename.startswith("view_")]
    steering = [right for right in ours if right.content_type.model in _STEERED]
    pricing = [right for right in ours if right.content_type.model in _PRICED]
    people = [right for right in every if right.content_type.app_label in ("auth", "admin")]
    return {
        "viewer": views,
        "operator": [*views, *steering],
        "finance": [*views, *pricing],
        "admin": [*ours, *people],
    }
