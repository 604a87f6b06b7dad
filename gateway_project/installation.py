"""What a start finds missing and puts in place: tables, the catalogue, an administrator, a management key.

Each step does nothing when its result exists, so that every start may take all of them. Knows the apps; must not know
the server that is started afterwards.
"""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import Q

from accounting import keys
from accounting.models import ApiKey
from catalog import environment, loader
from catalog.models import LanguageModel
from catalog.seed.report import Report
from routingapp import seed

ADMINISTRATOR = "admin"
PASSWORD_BYTES = 12


@contextmanager
def one_process_at_a_time() -> Iterator[None]:
    """Wait for any other process of this VAR_DIR that is preparing the installation, and keep others out meanwhile."""
    settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
    with (settings.VAR_DIR / "startup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare() -> tuple[str | None, str | None]:
    """Take every step; what `create_administrator` and `create_management_key` made.

    Raises `DatabaseError` and `SeedRefused`, when the database or models.yaml cannot be used.
    """
    with one_process_at_a_time():
        migrate()
        load_catalogue()
        return create_administrator(), create_management_key()


def migrate() -> None:
    """Bring the database up to date, printing nothing. Raises `DatabaseError` when it cannot be used."""
    call_command("migrate", verbosity=0, interactive=False)


def load_catalogue() -> Report | None:
    """Fill an empty catalogue from models.yaml and routing.yaml; the report, or None where there are models already."""
    if LanguageModel.objects.exists():
        return None
    return seed.load()


def create_administrator() -> str | None:
    """The generated password of the user `admin`, or None where somebody can log in already."""
    if User.objects.filter(Q(is_superuser=True) | Q(username=ADMINISTRATOR)).exists():
        return None
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    User.objects.create_superuser(ADMINISTRATOR, password=password)
    return password


def create_management_key() -> str | None:
    """The secret of a new management key, or None where there are keys already."""
    if ApiKey.objects.exists():
        return None
    _, secret = keys.mint("first start", is_management=True)
    return secret


def models_able_to_answer() -> tuple[list[str], int]:
    """Ids of the models with an adapter that can be called, those on local engines first; and how many models there are."""
    catalogue = loader.load(environment.lookup)
    able: dict[str, bool] = {}
    for model in catalogue.models:
        ready = [adapter for adapter in model.adapters if adapter.is_usable]
        if ready:
            able[model.id] = any(adapter.provider.is_local for adapter in ready)
    return sorted(able, key=lambda name: not able[name]), len(catalogue.models)
