"""What is known of limits and keys, and when it is dropped."""

from __future__ import annotations

from catalog.entries import Catalogue
from catalog.limits import Limits
from routingapp.capacity import Capacity
from routingapp.keypool import Fault
from tests.routingapp.world import NOW, adapter, model, provider

ACME = provider("acme", 1, api_keys=("${ACME_A}", "${ACME_B}"), limits=Limits(rpm=5))
OTHER = provider("other", 2, api_keys=("${OTHER_A}", "${OTHER_B}"))
BOTH = Catalogue.of([model(adapter(ACME, 1), adapter(OTHER, 2))])
ONE = Catalogue.of([model(adapter(OTHER, 2))])


def troubled() -> Capacity:
    """A key of each provider rests, and one of `ACME` is under way."""
    capacity = Capacity(lambda: 0.0)
    capacity.follow(BOTH, 1)
    for of in (ACME, OTHER):
        capacity.pools.failed(of, 0, Fault.RATE_LIMITED, 60, NOW, 1)
        assert capacity.pools.choose(of, NOW, 1) == 1
    capacity.pools.released(OTHER, 1)
    capacity.scopes_of(BOTH.models[0].adapters[0])
    return capacity


def test_keys_of_a_provider_that_is_gone_are_forgotten_once_their_requests_are_over():
    capacity = troubled()

    capacity.follow(ONE, 2)

    assert set(capacity.pools._keys) == {(1, "${ACME_B}"), (2, "${OTHER_A}"), (2, "${OTHER_B}")}
    assert capacity.pools._troubled == {2}
    assert capacity._scopes == {}
    capacity.pools.released(ACME, 1)
    capacity.follow(ONE, 3)
    assert {provider_id for provider_id, _ in capacity.pools._keys} == {2}


def test_a_key_that_rests_goes_on_resting_when_something_else_changes():
    capacity = troubled()

    capacity.follow(ONE, 2)

    assert capacity.pools.choose(OTHER, NOW + 59, 2) == 1
    assert capacity.pools.choose(OTHER, NOW + 60, 2) == 0
