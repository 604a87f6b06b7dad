"""Guessing passwords: free for a few, then slower and slower, in constant memory."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.console import throttle as module
from gateway_project.console.throttle import FREE_PER_NAME, LONGEST_WAIT_S, Throttle


class TestCounting:
    def test_the_first_failures_cost_nothing_and_each_further_one_doubles_the_wait(self):
        throttle = Throttle()
        waits = []
        for _ in range(FREE_PER_NAME + 3):
            waits.append(throttle.wait_s("ada", FREE_PER_NAME, 1000.0))
            throttle.failed("ada", 1000.0)
        assert waits == [0, 0, 0, 0, 0, 2, 4, 8]

    @given(st.integers(0, 500))
    def test_no_wait_is_longer_than_the_longest(self, failures):
        throttle = Throttle(slots=1)
        for _ in range(failures):
            throttle.failed("ada", 1000.0)
        assert throttle.wait_s("ada", FREE_PER_NAME, 1000.0) <= LONGEST_WAIT_S

    def test_time_forgets(self):
        throttle = Throttle()
        for _ in range(50):
            throttle.failed("ada", 1000.0)
        assert throttle.wait_s("ada", FREE_PER_NAME, 1000.0 + LONGEST_WAIT_S) == 0
        throttle.failed("ada", 1000.0 + LONGEST_WAIT_S)
        assert throttle.wait_s("ada", FREE_PER_NAME, 1000.0 + LONGEST_WAIT_S) == 0

    def test_others_do_not_wait(self):
        throttle = Throttle()
        for _ in range(50):
            throttle.failed("ada", 1000.0)
        assert sum(throttle.wait_s(f"user {number}", FREE_PER_NAME, 1000.0) > 0 for number in range(50)) <= 1

    def test_a_million_names_need_no_more_memory_than_one(self):
        throttle = Throttle(slots=64)
        for number in range(10_000):
            throttle.failed(f"name {number}", 1000.0)
        assert len(throttle._failures) == 64


@pytest.mark.django_db
class TestLogin:
    @pytest.fixture(autouse=True)
    def forgetful(self, monkeypatch):
        monkeypatch.setattr(module, "throttle", Throttle())
        # However slow the machine, the next attempt comes within it.
        monkeypatch.setattr(module, "FIRST_WAIT_S", 600.0)

    def attempt(self, client, password: str):
        return client.post("/admin/login/", {"username": "ada", "password": password, "next": "/admin/"})

    def test_after_some_failures_even_the_right_password_must_wait(self, client):
        User.objects.create_superuser("ada", password="right-horse-battery")
        for _ in range(FREE_PER_NAME):
            assert "Please enter the correct" in self.attempt(client, "wrong").text
        assert "Too many failed attempts; try again in" in self.attempt(client, "right-horse-battery").text

    def test_a_success_ends_the_counting(self, client):
        User.objects.create_superuser("ada", password="right-horse-battery")
        for _ in range(FREE_PER_NAME - 1):
            self.attempt(client, "wrong")
        assert self.attempt(client, "right-horse-battery").status_code == 302
        client.logout()
        assert "Please enter the correct" in self.attempt(client, "wrong").text
