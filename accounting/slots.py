"""Sums by slot: stretches of two minutes, six hours and a day, so that charts of an hour, a week or a month read few rows.

What `accounting.rollups` is for hours, in three other lengths, each kept only as long as a chart shows it. A batch is summed by
hour already; here those sums are laid together, in the transaction that inserts the batch. Reading is up to who draws.
"""

from __future__ import annotations

import operator
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from accounting import sketch
from accounting.groups import Group, Named
from accounting.models import SlotUsage
from accounting.rollups import Sums, lay, summed
from accounting.rows import Row
from accounting.upserts import Upsert, epoch_s, moment

FINE_S, QUARTER_S, DAY_S = 120, 6 * 3600, 86400
KEPT_S = {FINE_S: 3 * 3600, QUARTER_S: 9 * DAY_S, DAY_S: 62 * DAY_S}
"""How long the slots of each length are kept, in seconds."""
COUNTS = (
    "requests", "successes", "errors", "refusals", "cancelled", "fallbacks", "streams", "prompt_tokens", "completion_tokens",
    "reasoning_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens", "image_tokens",
)  # fmt: skip
"""The counting columns of `SlotUsage`, which `Sums` has too."""


class Slot(NamedTuple):
    """What is summed apart: a slot (length in seconds, beginning in epoch seconds), a model, an adapter, a key (0: none)."""

    grain_s: int
    start: int
    model_id: str
    adapter_id: int
    api_key_id: int


def add(rows: Sequence[Row], hours: Mapping[Group, Sums], named: Named, connection: BaseDatabaseWrapper) -> None:
    """Add a batch to its slots. `hours` and `named` are what `rollups.add` made of the same `rows`.

    Call it after that, in the same transaction.
    """
    now = time.time()
    slots: dict[Slot, Sums] = {}
    for grain_s in (QUARTER_S, DAY_S):
        for group, sums in hours.items():
            if group.hour > now - KEPT_S[grain_s]:
                lay(slots, _slot(grain_s, group), sums)
    for start, sums_of_slot in _fine(rows, hours, named, now):
        for group, sums in sums_of_slot.items():
            lay(slots, Slot(FINE_S, start, *group[1:]), sums)
    # In one order, so that two processes that share rows do not wait for each other.
    upserts = [
        (grain_s, moment(start, connection.vendor), model_id, adapter_id or None, key_id or None,
         sums.provider, sums.cost_usd, *_counts_of(sums), _NOTHING)
        for (grain_s, start, model_id, adapter_id, key_id), sums in sorted(slots.items(), key=operator.itemgetter(0))
    ]  # fmt: skip
    with connection.cursor() as cursor:
        is_new, sketches = False, []
        for pk, requests, ttft, grain_s, start, model_id, adapter_id, key_id in _UPSERT.run(upserts, cursor):
            sums = slots[Slot(grain_s, epoch_s(start), model_id, adapter_id or 0, key_id or 0)]
            is_new |= requests == sums.requests
            if sums.ttft:
                # The row is locked now: nobody else adds to the sketch that was read.
                sketches.append((sketch.pack(sketch.unpack(ttft) + sums.ttft), pk))
        if sketches:
            cursor.executemany(_UPDATE_SKETCH, sketches)
        if is_new:
            # Time has gone on, so that something may have become too old.
            _prune(now, connection, cursor)


def add_cost(differences: Mapping[Group, Decimal], connection: BaseDatabaseWrapper) -> None:
    """Add USD to the slots that hold those hours, where they are kept. Call it with `rollups.add_cost`.

    Slots shorter than an hour stay as they are: an hour does not tell which of them to correct, and they are gone soon.
    """
    with connection.cursor() as cursor:
        named = Named.of(differences, cursor)
        changes: dict[Slot, Decimal] = defaultdict(Decimal)
        for group, usd in differences.items():
            group = named.existing(group)
            for grain_s in (QUARTER_S, DAY_S):
                changes[_slot(grain_s, group)] += usd
        for slot, usd in sorted(changes.items()):
            cursor.execute(_ADD_COST, [usd, slot.grain_s, moment(slot.start, connection.vendor), *slot[2:]])


def _slot(grain_s: int, group: Group) -> Slot:
    return Slot(grain_s, group.hour // grain_s * grain_s, *group[1:])


def _fine(
    rows: Iterable[Row], hours: Mapping[Group, Sums], named: Named, now: float
) -> Iterable[tuple[int, Mapping[Group, Sums]]]:
    """The sums by group of each short slot. A batch is usually of one moment, and then these are the sums that there are."""
    by_start: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_start[int(row.timestamp // FINE_S) * FINE_S].append(row)
    for start, part in by_start.items():
        if start <= now - KEPT_S[FINE_S]:
            continue
        if len(by_start) == 1:
            yield start, hours
            continue
        existing: dict[Group, Sums] = {}
        for group, sums in summed(part).items():
            lay(existing, named.existing(group), sums)
        yield start, existing


def _prune(now: float, connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> None:
    for grain_s, kept_s in KEPT_S.items():
        old = [grain_s, moment(int(now) - kept_s, connection.vendor)]
        cursor.execute(_DELETE_OLD, old)


_counts_of = operator.attrgetter(*COUNTS)
_TABLE = SlotUsage._meta.db_table
_DELETE_OLD = f"DELETE FROM {_TABLE} WHERE grain_s = %s AND start < %s"  # noqa: S608
_NOTHING = sketch.pack(0)
_KEY = ("grain_s", "start", "model_id", "adapter_id", "api_key_id")
_UPSERT = Upsert(
    _TABLE,
    "grain_s, start, model_id, COALESCE(adapter_id, 0), COALESCE(api_key_id, 0)",
    found_by=(*_KEY, "provider"),
    added=("cost_usd", *COUNTS),
    kept=("ttft",),
    returning=("id", "requests", "ttft", *_KEY),
)
_UPDATE_SKETCH = f"UPDATE {_TABLE} SET ttft = %s WHERE id = %s"  # noqa: S608
_ADD_COST = (
    f"UPDATE {_TABLE} SET cost_usd = ROUND(cost_usd + %s, 12) WHERE grain_s = %s AND start = %s AND model_id = %s "  # noqa: S608
    "AND COALESCE(adapter_id, 0) = %s AND COALESCE(api_key_id, 0) = %s"
)
