"""What probes learn of local engines: how busy they say they are, and who is probed how often."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from accounting.keys import KeyRing
from catalog.entries import Catalogue
from completions import engine_load
from completions.engine_load import EngineLoad
from completions.probes import engines_of
from completions.snapshot import Snapshot
from completions.upstream import prepare
from routingapp.entries import PolicyEntry, RoutingTable
from tests.routingapp.world import adapter, model, provider

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b"} 3.0
vllm:num_requests_running{engine="1",model_name="a b"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a b"} 7.0
vllm:num_requests_waiting{engine="1",model_name="a b"} NaN
vllm:num_requests_waiting_by_reason{reason="capacity"} 99.0
"""


@pytest.mark.parametrize(
    ("text", "load"),
    [
        (VLLM, EngineLoad(waiting=7, running=5)),
        ('sglang:num_running_reqs{model_name="m"} 8\nsglang:num_queue_reqs{model_name="m"} 4\n', EngineLoad(4, 8)),
        ("llamacpp:requests_processing 1\nllamacpp:requests_deferred 0", EngineLoad(0, 1)),
        ("<!DOCTYPE html><html>404</html>", EngineLoad()),
        ("vllm:num_requests_waiting many\n# vllm:num_requests_waiting 3\n", EngineLoad()),
        ("", EngineLoad()),
    ],
    ids=["vllm", "sglang", "llamacpp", "html", "nonsense", "empty"],
)
def test_the_load_is_read_as_each_engine_tells_it(text, load):
    assert engine_load.parse(text) == load


def test_an_engine_is_probed_as_its_most_attentive_policy_says_with_its_key():
    ours = provider("ours", 1, is_local=True, api_keys=("${OURS}",))
    spare = provider("spare", 2, is_local=True)
    hosted = provider("hosted", 3)
    models = [
        model(adapter(ours, 1, "a/slow"), adapter(hosted, 2, "a/slow"), id="a/slow"),
        model(adapter(ours, 3, "a/quick"), adapter(spare, 4, "a/quick", is_enabled=False), id="a/quick"),
    ]
    quick = PolicyEntry(health_check_interval_s=2, health_check_timeout_s=0.5)
    endpoints = {entry.id: prepare(entry, {"OURS": "s3cret-of-ours"}.get) for each in models for entry in each.adapters}
    routing = RoutingTable(policies=MappingProxyType({"a/quick": quick}))
    (engine,) = engines_of(Snapshot(Catalogue.of(models), routing, KeyRing(), endpoints=endpoints)).values()
    assert (engine.provider, engine.interval_s, engine.timeout_s) == (ours, 2, 0.5)
    assert engine.headers["authorization"] == "Bearer s3cret-of-ours"
    assert "s3cret-of-ours" not in repr(engine)
