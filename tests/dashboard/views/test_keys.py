"""API keys: shown once, rolled, revoked."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from merchants import ids, keys
from merchants.models import ApiKey
from tests import scenes

SECRET = re.compile(r"fth_[sr]k_test_[0-9A-Za-z]{30}")


@pytest.fixture
def browser_of(quiet: scenes.Scene) -> Client:
    return scenes.signed_in(quiet.user)


def first(quiet: scenes.Scene) -> ApiKey:
    return ApiKey.objects.get(merchant=quiet.test, name="First key")


class TestNew:
    def test_shows_the_secret_in_its_answer_and_nowhere_else(self, browser_of: Client, quiet: scenes.Scene) -> None:
        response = browser_of.post("/judgebox/test/keys/new", {"name": "Server", "reach": "everything"})
        secret = SECRET.search(response.content.decode())
        assert secret
        assert keys.find(secret[0]) is not None
        assert response["Cache-Control"] == "private, no-store"
        assert secret[0] not in browser_of.get("/judgebox/test/keys").content.decode()

    def test_restricts_a_key_to_what_was_chosen(self, browser_of: Client, quiet: scenes.Scene) -> None:
        form = {"name": "Meter", "reach": "chosen", "scopes": ["usage:write", "customers:read"]}
        response = browser_of.post("/judgebox/test/keys/new", form)
        assert "fth_rk_test_" in response.content.decode()
        assert ApiKey.objects.get(name="Meter").scopes == ["customers:read", "usage:write"]

    @pytest.mark.parametrize("scopes", [[], ["everything:write"]])
    def test_refuses_a_key_that_could_do_nothing(
        self, browser_of: Client, quiet: scenes.Scene, scopes: list[str]
    ) -> None:
        form = {"name": "Nothing", "reach": "chosen", "scopes": scopes}
        response = browser_of.post("/judgebox/test/keys/new", form)
        assert b'class="errorlist"' in response.content
        assert not ApiKey.objects.filter(name="Nothing").exists()

    def test_in_live_mode_makes_a_live_key(self, browser_of: Client, quiet: scenes.Scene) -> None:
        response = browser_of.post("/judgebox/keys/new", {"name": "Server", "reach": "everything"})
        assert "fth_sk_live_" in response.content.decode()
        assert ApiKey.objects.get(name="Server").merchant == quiet.live


class TestRoll:
    def test_lets_the_old_key_work_for_the_chosen_time(self, browser_of: Client, quiet: scenes.Scene) -> None:
        path = f"/judgebox/test/keys/{ids.text('key', first(quiet).id)}/roll"
        response = browser_of.post(path, {"overlap": "24"})
        assert SECRET.search(response.content.decode())
        old = first(quiet) if ApiKey.objects.filter(name="First key").count() == 1 else _old(quiet)
        assert old.expires_at is not None
        assert timedelta(hours=23) < old.expires_at - timezone.now() < timedelta(hours=25)

    def test_refuses_a_key_that_was_rolled(self, browser_of: Client, quiet: scenes.Scene) -> None:
        path = f"/judgebox/test/keys/{ids.text('key', first(quiet).id)}/roll"
        browser_of.post(path, {"overlap": "24"})
        response = browser_of.post(path, {"overlap": "24"})
        assert b"already replaced" in response.content
        assert b"Request req_" in response.content
        assert ApiKey.objects.filter(merchant=quiet.test).count() == 2


class TestRevoke:
    def test_asks_before_it_ends_a_key(self, browser_of: Client, quiet: scenes.Scene) -> None:
        path = f"/judgebox/test/keys/{ids.text('key', first(quiet).id)}/revoke"
        assert b"cannot be undone" in browser_of.get(path).content
        assert first(quiet).revoked_at is None
        assert browser_of.post(path, follow=True).status_code == 200
        assert first(quiet).revoked_at is not None

    def test_does_not_know_the_keys_of_the_other_mode(self, browser_of: Client, quiet: scenes.Scene) -> None:
        path = f"/judgebox/keys/{ids.text('key', first(quiet).id)}/revoke"
        assert browser_of.post(path).status_code == 404
        assert first(quiet).revoked_at is None


def _old(quiet: scenes.Scene) -> ApiKey:
    return ApiKey.objects.get(merchant=quiet.test, successor__isnull=False)
