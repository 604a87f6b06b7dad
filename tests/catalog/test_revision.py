"""The number by which every process learns of an edit, however the edit was made."""

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from catalog import revision
from catalog.models import Adapter, LanguageModel, ModelAlias, Provider
from routingapp.models import RoutingPolicy, RoutingWeight
from tests import factories

pytestmark = pytest.mark.django_db
TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'catalog_adapter'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgrelid = 'catalog_adapter'::regclass AND tgname LIKE '%_rev'",
}


def test_a_bulk_update_raises_it():
    factories.adapter()
    before = revision.current()

    LanguageModel.objects.update(name="Renamed")

    assert revision.current() > before


@pytest.mark.parametrize("row", [Provider, LanguageModel, ModelAlias, Adapter, RoutingWeight, RoutingPolicy])
def test_every_watched_table_raises_it_on_insert_update_and_delete(row):
    numbers = [revision.current()]
    model = factories.language_model(aliases=("alias",))
    factories.adapter(model, weight=2)
    factories.routing_policy(model)
    numbers.append(revision.current())
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {row._meta.db_table} SET id = id")
        numbers.append(revision.current())
        cursor.execute(f"DELETE FROM {row._meta.db_table}")
    numbers.append(revision.current())
    transaction.set_rollback(True)  # What pointed at the deleted rows is left dangling.

    assert numbers == sorted(set(numbers))


@pytest.mark.django_db(transaction=True)
def test_the_triggers_come_back_with_migrate():
    with connection.cursor() as cursor:
        cursor.execute(TRIGGERS[connection.vendor])
        names = {name for (name,) in cursor.fetchall()}
        for name in names:
            cursor.execute(f"DROP TRIGGER {name}" + (" ON catalog_adapter" if connection.vendor == "postgresql" else ""))

    call_command("migrate", verbosity=0)

    factories.adapter()
    before = revision.current()
    Adapter.objects.update(upstream_model="other")
    assert len(names) == 3
    assert revision.current() > before
