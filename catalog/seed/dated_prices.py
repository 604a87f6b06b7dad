"""`prices` of a route: what it costs from when on. The other way to say it is `pricing`, which holds from the load on."""

from __future__ import annotations

from datetime import datetime

from catalog.models import AdapterPrice
from catalog.seed import fields
from catalog.seed.document import Section, spell
from catalog.seed.wanted import Origin, WantedPrice

FIELDS = ("from", "pricing", "note")
"""Every field of one of the prices."""
_COLUMNS = {"from": "effective_from", "note": "note"}


def of(route: Section) -> tuple[WantedPrice, ...]:
    """The dated prices of a route, as they stand in the file; faults are complained of."""
    if route.given("prices") and route.given("pricing"):
        route.complain(
            "says what holds from now on, and prices says it too; make it one of prices, with its date", "pricing"
        )
    found: dict[datetime, WantedPrice] = {}
    for section in route.sections("prices"):
        price = _price(section)
        if price is None:
            continue
        if price.effective_from in found:
            line = found[price.effective_from].origin.line
            section.complain(f"is the moment of the price on line {line} already; keep one", "from")
        found.setdefault(price.effective_from, price)
    return tuple(found.values())


def _price(section: Section) -> WantedPrice | None:
    section.only(FIELDS)
    values = {"note": fields.default(AdapterPrice, "note"), "pricing": None}
    given = fields.columns(section, _COLUMNS, AdapterPrice) | fields.pricing(section)
    if not section.given("from"):
        section.complain("is missing; give the moment from which the price holds, e.g. 2027-01-01", "from")
    if "pricing" not in section.values:
        section.complain("is missing; give the prices, or null for the model's published ones", "pricing")
    if section.values.get("pricing") == {}:
        section.complain('says nothing; for a free model {prompt: "0"}', "pricing")
    moment = given.pop("effective_from", None)
    if moment is None:
        return None
    origin = Origin(section.source.file, section.line(), spell(section.place))
    return WantedPrice(datetime.fromisoformat(moment), values | given, origin)
