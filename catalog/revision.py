"""The revision number: how every process learns, without asking much, that the catalogue has changed.

Database triggers on each watched table raise it, so that `QuerySet.update()`, bulk writes and SQL by hand count as much as
a save in admin. Triggers are (re)installed after every `migrate`, because SQLite drops them when a migration rebuilds a
table.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models

_watched: list[type[models.Model]] = []


def watch(*rows: type[models.Model]) -> None:
    """Count changes of these models' tables. Call it in `AppConfig.ready`."""
    _watched.extend(row for row in rows if row not in _watched)


def current() -> int:
    """The present revision number, 0 on an empty database. One query."""
    from catalog.models import Revision

    return Revision.objects.values_list("number", flat=True).first() or 0


def install_triggers(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Create the triggers that do not exist yet on every watched table that does."""
    connection = connections[using]
    tables = set(connection.introspection.table_names())
    statements = _POSTGRESQL if connection.vendor == "postgresql" else _SQLITE
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql" and "catalog_revision" in tables:
            cursor.execute(_POSTGRESQL_FUNCTION)
        for row in _watched:
            if {row._meta.db_table, "catalog_revision"} <= tables:
                for event in ("INSERT", "UPDATE", "DELETE"):
                    for statement in statements:
                        cursor.execute(
                            statement.format(
                                name=f"{row._meta.db_table}_{event.lower()}_rev", event=event, table=row._meta.db_table
                            )
                        )


_SQLITE = (
    """CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} ON {table} BEGIN
         INSERT OR IGNORE INTO catalog_revision (id, number) VALUES (1, 0);
         UPDATE catalog_revision SET number = number + 1 WHERE id = 1;
       END""",
)
_POSTGRESQL_FUNCTION = """
    CREATE OR REPLACE FUNCTION catalog_revision_raise() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO catalog_revision (id, number) VALUES (1, 1)
        ON CONFLICT (id) DO UPDATE SET number = catalog_revision.number + 1;
      RETURN NULL;
    END $$"""
_POSTGRESQL = (
    "DROP TRIGGER IF EXISTS {name} ON {table}",
    "CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION catalog_revision_raise()",
)
