"""What is said of an adapter that pauses, whose engine is down, or that is not known yet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog import environment, loader
from gateway_project.console import standing
from gateway_project.console.process import ProcessView
from routingapp.breaker import BreakerState
from routingapp.health import EngineView, Health
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def adapter():
    return factories.adapter(provider=factories.provider("engine", is_local=True))


@pytest.fixture
def entry(adapter):
    model = loader.load(environment.lookup).find(adapter.model.public_id)
    assert model is not None
    return model.adapters[0]


@pytest.fixture
def here(adapter) -> ProcessView:
    """A process in which everything is well."""
    return ProcessView(None, {adapter.pk: Health().view(adapter.pk, 0.0)}, {}, [], {})


def test_one_that_answers_is_well(adapter, entry, here):
    assert standing.of(adapter, entry, here).told == "well"
    assert standing.of(adapter, entry, None).told == "configured"


def test_one_that_pauses_is_marked_and_still_counts_as_one_that_is_asked(adapter, entry, here):
    view = replace(
        here.health[adapter.pk], state=BreakerState.OPEN, retry_in_s=12.3, last_error="ProviderTimeout: too slow"
    )
    found = standing.of(adapter, entry, replace(here, health={adapter.pk: view}))
    assert (found.state, found.is_asked) == ("bad", True)
    assert found.told == "paused after faults: 12 s left, ProviderTimeout: too slow"


def test_one_whose_provider_asked_for_a_pause_is_not_said_to_be_at_fault(adapter, entry, here):
    view = replace(here.health[adapter.pk], state=BreakerState.OPEN, retry_in_s=30.0, is_rate_limited=True)
    found = standing.of(adapter, entry, replace(here, health={adapter.pk: view}))
    assert found.told == "paused: its provider asked for it, 30 s left"


def test_one_whose_engine_is_down_says_why(adapter, entry, here):
    engines = {adapter.provider_id: EngineView(is_up=False, detail="connection refused", seen_at=0.0)}
    assert standing.of(adapter, entry, replace(here, engines=engines)).told == "engine down: connection refused"


def test_one_that_was_added_a_moment_ago_says_so(adapter):
    assert "within a second" in standing.of(adapter, None, None).told
