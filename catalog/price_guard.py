"""The rule that a price in force is never edited, held by the database itself: also against bulk updates and SQL by hand.

Triggers, because no constraint can compare a row with what it was. They are (re)installed after every `migrate`, as those of
`catalog.revision` are, and for the same reason. Deleting is refused by `AdapterPrice` itself: a trigger could not tell it
from the deletion of the whole adapter, which is allowed as long as nobody has used it.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections


def install_triggers(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Create the trigger, if the table exists."""
    connection = connections[using]
    with connection.cursor() as cursor:
        if _TABLE in connection.introspection.table_names(cursor):
            for statement in _POSTGRESQL if connection.vendor == "postgresql" else _SQLITE:
                cursor.execute(statement)


_TABLE = "catalog_adapterprice"
_MESSAGE = "a price in force is never edited; add one that follows it"
_CHANGED = """(OLD.adapter_id <> NEW.adapter_id OR OLD.effective_from <> NEW.effective_from
              OR OLD.pricing IS {distinct} NEW.pricing)"""
_SQLITE = (
    f"""CREATE TRIGGER IF NOT EXISTS {_TABLE}_guard BEFORE UPDATE OF adapter_id, effective_from, pricing ON {_TABLE}
        WHEN OLD.effective_from <= strftime('%Y-%m-%d %H:%M:%f', 'now') AND {_CHANGED.format(distinct="NOT")}
        BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END""",
)
_POSTGRESQL = (
    f"""CREATE OR REPLACE FUNCTION {_TABLE}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '{_MESSAGE}' USING ERRCODE = 'check_violation'; END $$""",
    f"DROP TRIGGER IF EXISTS {_TABLE}_guard ON {_TABLE}",
    f"""CREATE TRIGGER {_TABLE}_guard BEFORE UPDATE OF adapter_id, effective_from, pricing ON {_TABLE} FOR EACH ROW
        WHEN (OLD.effective_from <= now() AND {_CHANGED.format(distinct="DISTINCT FROM")})
        EXECUTE FUNCTION {_TABLE}_refuse()""",
)
