"""What a snapshot makes of rows whose values HTTP cannot say."""

from __future__ import annotations

import pytest

from completions import snapshot
from tests import factories


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"api_key": "${TORN_KEY}"}, "the value of header 'authorization' holds a line break"),
        ({"extra_headers": {"Content-Length": "5"}}, "says how the request is framed"),
        ({"extra_headers": {"x team": "a"}}, "a name is made of"),
        ({"base_url": "http://engine.test:99999"}, "a URL cannot be read"),
    ],
)
def test_an_adapter_that_http_cannot_call_is_unconfigured_and_stops_no_other(monkeypatch, fields, reason):
    monkeypatch.setattr(snapshot, "_current", None)
    monkeypatch.setenv("TORN_KEY", "one-half\r\nother-half")
    model = factories.language_model("acme/one")
    bad = factories.adapter(model, factories.provider("bad", **fields))
    good = factories.adapter(model, factories.provider("good"))
    loaded = snapshot.load()
    served = {adapter.id: adapter.unconfigured for adapter in loaded.catalogue.models[0].adapters}
    assert served[good.id] is None
    assert reason in (served[bad.id] or "")
    assert "half" not in (served[bad.id] or "")
    assert set(loaded.endpoints) == {good.id}
