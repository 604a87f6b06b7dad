"""The planner: the split over many plans, the filters and their reasons, and the errors when nothing is left."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.routingapp.world import serve


def test_the_split_over_ten_thousand_plans_is_within_one_and_a_half_points_of_the_weights():
    world = serve("one", "two", "three")
    world.weights = {1: 6, 2: 3, 3: 1}
    firsts = Counter(world.slugs()[0] for _ in range(10_000))
    for slug, share in (("one", 0.6), ("two", 0.3), ("three", 0.1)):
        assert firsts[slug] / 10_000 == pytest.approx(share, abs=0.015)


def test_every_adapter_stands_by_once_behind_the_first():
    world = serve("one", "two", "three")
    assert sorted(world.slugs()) == ["one", "three", "two"]
