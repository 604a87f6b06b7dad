"""The life of a price: to come, in force by itself, and found to have been wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import orjson

from tests.fakes.catalogue import seed
from tests.journeys.asking import Asker
from tests.live import Gateway, until

DEAR = {"prompt": "0.001", "completion": "0.01"}
WRONG = Decimal("0.000018")
"""12 tokens in and 3 out at the prices of the seed."""
RIGHT = Decimal("0.042")


def add_price(gateway: Gateway, since: datetime) -> None:
    # Text without a zone: what SQLite stores.
    moment = str(since.replace(tzinfo=None))
    gateway.database.change(
        "INSERT INTO catalog_adapterprice (adapter_id, effective_from, pricing, note, created_at) "
        "SELECT id, ?, ?, '', ? FROM catalog_adapter",
        *(moment, orjson.dumps(DEAR).decode(), moment),
    )


def prompt_price(gateway: Gateway) -> str:
    (endpoint,) = gateway.client.get("/v1/models/fake/ok/endpoints").json()["data"]["endpoints"]
    return endpoint["pricing"]["prompt"]


def test_a_price_comes_into_force_by_itself_and_the_past_can_be_charged_anew(start_gateway, fake, marker):
    gateway = start_gateway(seed(fake, {"fake/ok": "ok"}))
    ask = Asker(gateway, marker)

    first = ask.chat("fake/ok").json()
    assert Decimal(str(first["usage"]["cost"])) == WRONG
    # Known to the gateway at once, in force later, and then nobody edits anything.
    add_price(gateway, datetime.now(UTC) + timedelta(seconds=3))
    assert prompt_price(gateway) == "0.000001"
    until(lambda: prompt_price(gateway) == "0.001", "the price to come into force")
    second = ask.chat("fake/ok").json()
    assert Decimal(str(second["usage"]["cost"])) == RIGHT
    gateway.row(request_id=second["id"])

    add_price(gateway, datetime.now(UTC) - timedelta(hours=1))
    assert "1 were corrected, from 0.000018 to 0.042 USD" in gateway.manage("reprice", "--from", "30m", "--by", "ada")
    assert "0 were corrected" in gateway.manage("reprice", "--from", "30m")

    rows = gateway.sql("SELECT cost_usd FROM api_logs")
    (hour,) = gateway.sql("SELECT SUM(cost_usd) AS usd FROM usage_hourly")
    (trail,) = gateway.sql("SELECT * FROM accounting_pricecorrection")
    assert [Decimal(str(row["cost_usd"])) for row in rows] == [RIGHT, RIGHT]
    assert Decimal(str(hour["usd"])) == 2 * RIGHT
    assert (trail["request_id"], trail["corrected_by"]) == (first["id"], "ada")
