"""Keys from minting to authentication: what is stored, who is let in, and what the others are told."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounting import keys, loader
from accounting.credentials import KeyRing, hash_of, new_secret
from accounting.models import ApiKey
from gateway_project.errors import Unauthenticated

NOW = timezone.now().timestamp()


def refusal(ring: KeyRing, secret: str | None, now: float = NOW) -> str:
    """The message with which `secret` is refused, after checking what all refusals share."""
    with pytest.raises(Unauthenticated) as caught:
        ring.authenticate(secret, now)
    assert caught.value.status == 401
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}
    if secret:
        assert secret not in str(caught.value.body())
    return caught.value.message


@pytest.mark.django_db
class TestMinting:
    def test_it_returns_a_secret_in_openrouters_form(self):
        _, secret = keys.mint("ci")
        prefix, digits = secret[:9], secret[9:]
        assert (prefix, len(digits)) == ("sk-or-v1-", 64)
        assert int(digits, 16) > 0

    def test_it_never_makes_the_same_secret_twice(self):
        assert len({new_secret() for _ in range(100)}) == 100

    def test_it_stores_a_keyed_hash_and_a_label_but_not_the_secret(self, settings):
        row, secret = keys.mint("ci")
        stored = ApiKey.objects.filter(pk=row.pk).values().get()
        assert secret not in str(stored)
        assert stored["hash"] == hash_of(secret, keys.signing_key())
        assert stored["label"] == f"{secret[:12]}...{secret[-3:]}"
        settings.SECRET_KEY = "another"
        assert stored["hash"] != hash_of(secret, keys.signing_key())

    def test_it_keeps_what_the_key_may_do(self, django_user_model):
        ada = django_user_model.objects.create_user("ada")
        row, _ = keys.mint("ci", is_management=True, owner=ada, limit_usd=Decimal("2.5"), limit_reset="daily", rpm_limit=3)
        row.refresh_from_db()
        assert (row.is_management, row.owner, row.limit_usd, row.limit_reset, row.rpm_limit) == (
            True, ada, Decimal("2.5"), "daily", 3,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("fields", "culprit"),
        [
            ({"name": ""}, "name"),
            ({"name": "ci", "limit_usd": Decimal(-1)}, "limit_usd"),
            ({"name": "ci", "limit_reset": "yearly"}, "limit_reset"),
            ({"name": "ci", "allowed_models": "deepseek-chat"}, "allowed_models"),
        ],
    )
    def test_it_refuses_a_bad_field_by_name_and_saves_nothing(self, fields, culprit):
        with pytest.raises(ValidationError) as caught:
            keys.mint(**fields)
        assert list(caught.value.message_dict) == [culprit]
        assert not ApiKey.objects.exists()

    def test_it_does_not_give_a_saved_key_a_second_secret(self):
        row, _ = keys.mint("ci")
        with pytest.raises(ValueError, match="has a secret already"):
            keys.issue(row)


@pytest.mark.django_db
class TestAuthentication:
    def test_it_finds_the_entry_with_everything_the_request_path_asks(self):
        expires = datetime(2100, 1, 1, tzinfo=UTC)
        row, secret = keys.mint(
            "ci", is_management=True, limit_usd=Decimal(5), limit_reset="weekly", expires_at=expires, allowed_models=["a"],
            allowed_providers=["p"], rpm_limit=1, tpm_limit=2, max_concurrency=3, log_content="hash",
        )  # fmt: skip
        entry = loader.load().authenticate(secret, NOW)
        assert entry == keys.KeyEntry(
            id=row.pk, hash=row.hash, name="ci", label=row.label, is_management=True, is_disabled=False,
            expires_at=expires.timestamp(), allowed_models=frozenset({"a"}), allowed_providers=frozenset({"p"}),
            limit_usd=Decimal(5), limit_reset="weekly", rpm_limit=1, tpm_limit=2, max_concurrency=3, log_content="hash",
        )  # fmt: skip

    def test_it_loads_every_key_in_one_query(self, django_assert_num_queries):
        secrets = [keys.mint(f"key {number}")[1] for number in range(5)]
        with django_assert_num_queries(1):
            ring = loader.load()
        with django_assert_num_queries(0):
            assert [ring.authenticate(secret, NOW).name for secret in secrets] == [f"key {n}" for n in range(5)]

    def test_it_refuses_what_is_not_a_key_of_ours(self):
        ring = loader.load()
        for wrong in ("", "sk-or-v1-abc", "sk-proj-" + "a" * 64, "sk-or-v1-" + "A" * 64, "sk-or-v1-" + "a" * 65, "clé"):
            assert "64 hexadecimal digits" in refusal(ring, wrong)

    def test_it_refuses_a_well_formed_key_that_it_does_not_know(self):
        assert refusal(loader.load(), new_secret()).startswith("User not found.")

    def test_it_refuses_a_disabled_key_by_its_label(self):
        row, secret = keys.mint("ci")
        ApiKey.objects.update(is_disabled=True)
        assert f"{row.label} is disabled" in refusal(loader.load(), secret)

    def test_it_refuses_a_key_from_the_moment_it_expires(self):
        moment = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
        row, secret = keys.mint("ci", expires_at=moment)
        ring = loader.load()
        assert ring.authenticate(secret, moment.timestamp() - 0.001).id == row.pk
        assert "expired on 2026-11-20 at 12:30 UTC" in refusal(ring, secret, moment.timestamp())

    def test_it_lets_callers_without_a_key_in_where_none_is_required(self, settings):
        settings.REQUIRE_API_KEY = False
        assert loader.load().authenticate(None, NOW) is keys.ANONYMOUS

    def test_it_refuses_a_wrong_key_even_where_none_is_required(self, settings):
        settings.REQUIRE_API_KEY = False
        assert "may leave the header out" in refusal(loader.load(), "EMPTY")
        assert refusal(loader.load(), new_secret()).startswith("User not found.")

    def test_it_asks_for_a_key_where_one_is_required(self, settings):
        settings.REQUIRE_API_KEY = True
        assert refusal(loader.load(), None).startswith("Missing Authentication header")
        assert "may leave the header out" not in refusal(loader.load(), "EMPTY")

    def test_an_empty_ring_lets_nobody_in(self):
        assert refusal(KeyRing(), None).startswith("Missing Authentication header")

    def test_it_does_not_show_the_signing_key(self):
        assert repr(keys.signing_key()) not in repr(loader.load())


class TestHeaders:
    @pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER   abc ", " Bearer abc"])
    def test_it_reads_the_bearer_scheme_in_any_case(self, header):
        assert keys.secret_from(header, None) == "abc"

    def test_it_reads_the_header_of_anthropics_clients(self):
        assert keys.secret_from(None, "abc") == "abc"

    def test_it_prefers_authorization(self):
        assert keys.secret_from("Bearer abc", "xyz") == "abc"

    def test_it_tells_no_key_from_a_bad_one(self):
        assert keys.secret_from(None, None) is None

    @pytest.mark.parametrize(
        ("header", "told"),
        [
            ("abc", "must read `Bearer"),
            ("Basic YWRhOnB3", "must read `Bearer"),
            ("", "must read `Bearer"),
            ("Bearer", "no key after `Bearer`"),
            ("Bearer  ", "no key after `Bearer`"),
        ],
    )
    def test_it_refuses_another_scheme_or_an_empty_key_without_echo(self, header, told):
        with pytest.raises(Unauthenticated, match="No auth credentials found") as caught:
            keys.secret_from(header, "xyz")
        assert told in caught.value.message
        assert not any(word in caught.value.message for word in ("YWRhOnB3", "xyz", "abc"))


@pytest.mark.django_db
class TestCommand:
    def test_it_prints_a_working_key_alone_on_the_last_line(self):
        printed, told = io.StringIO(), io.StringIO()
        call_command("createapikey", "--name", "ci", stdout=printed, stderr=told)
        secret = printed.getvalue().splitlines()[-1]
        assert loader.load().authenticate(secret, NOW).name == "ci"
        assert "Created key ci (sk-or-v1-" in told.getvalue()
        assert secret not in told.getvalue()

    def test_it_takes_limit_reset_expiry_and_management(self):
        call_command(
            "createapikey", "--name=ci", "--management", "--limit=25.50", "--reset=monthly", "--expires=2100-01-31",
            stdout=io.StringIO(), stderr=io.StringIO(),
        )  # fmt: skip
        row = ApiKey.objects.get()
        assert (row.is_management, row.limit_usd, row.limit_reset) == (True, Decimal("25.5"), "monthly")
        assert row.expires_at == datetime(2100, 1, 31, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--limit=lots"], "--limit lots is not an amount"),
            (["--limit=-1"], "greater than or equal to 0"),
            (["--reset=daily"], "needs a limit"),
            (["--expires=soon"], "--expires soon is not a date"),
            ([f"--expires={(timezone.now() - timedelta(days=2)).date()}"], "is in the past"),
        ],
    )
    def test_it_refuses_what_makes_no_sense(self, arguments, told):
        with pytest.raises(CommandError, match=told):
            call_command("createapikey", "--name=ci", *arguments)
        assert not ApiKey.objects.exists()
