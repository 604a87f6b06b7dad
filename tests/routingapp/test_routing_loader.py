from typing import Any

import pytest

from routingapp import loader
from routingapp.entries import OffloadMode, PolicyEntry
from tests import factories

pytestmark = pytest.mark.django_db


def test_without_rows_every_adapter_counts_one_and_the_defaults_rule():
    table = loader.load(offload=False)

    assert table.weight_of(7) == 1
    assert table.policy_of("any") == PolicyEntry()


def test_weights_are_known_by_adapter():
    adapter = factories.adapter(weight=0.25)

    assert loader.load(offload=False).weight_of(adapter.pk) == 0.25


def test_a_model_without_policy_follows_the_default_policy():
    factories.routing_policy(max_attempts=5)
    model = factories.language_model("acme/falcon")
    own: dict[str, Any] = {
        "max_attempts": 2,
        "local_fraction": 0.5,
        "deadline_s": 30,
        "longest_wait_s": 7,
        "health_check_interval_s": 3,
    }
    factories.routing_policy(model, **own)
    table = loader.load(offload=False)

    assert table.policy_of("other").max_attempts == 5
    assert table.policy_of("acme/falcon") == PolicyEntry(**own)


@pytest.mark.parametrize(
    ("variable", "default", "own", "is_offloaded"),
    [
        (True, OffloadMode.ENVIRONMENT, OffloadMode.ENVIRONMENT, True),
        (False, OffloadMode.ENVIRONMENT, OffloadMode.ENVIRONMENT, False),
        (False, OffloadMode.ON, OffloadMode.ENVIRONMENT, True),
        (True, OffloadMode.OFF, OffloadMode.ENVIRONMENT, False),
        (False, OffloadMode.ON, OffloadMode.OFF, False),
        (True, OffloadMode.OFF, OffloadMode.ON, True),
    ],
)
def test_offload_is_decided_by_the_model_then_the_default_then_the_variable(variable, default, own, is_offloaded):
    factories.routing_policy(offload=default)
    factories.routing_policy(factories.language_model("acme/falcon"), offload=own)

    assert loader.load(offload=variable).policy_of("acme/falcon").is_offloaded is is_offloaded


def test_the_number_of_queries_does_not_grow(django_assert_num_queries):
    for _ in range(3):
        factories.routing_policy(factories.adapter(weight=1).model)

    with django_assert_num_queries(2):
        assert len(loader.load(offload=False).policies) == 3
