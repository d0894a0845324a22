"""Who may call the API."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from merchants import audit, keys
from merchants.models import ApiKey, User
from tests import factories
from tests.callers import caller

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_cached() -> None:
    keys.CACHE.forget()


def answer_to(**headers: str):
    return Client().get("/v0/products", headers=headers)


class TestTheHeader:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_may_be_written_in_any_case(self, scheme):
        assert answer_to(Authorization=f"{scheme} {caller().secret}").status_code == 200

    @pytest.mark.parametrize(
        ("write", "code"),
        [
            (lambda secret: "", "API_KEY_MISSING"),
            (lambda secret: secret, "INVALID_AUTHORIZATION"),
            (lambda secret: f"Basic {secret}", "INVALID_AUTHORIZATION"),
            (lambda secret: f"Bearer {secret},Bearer {secret}", "INVALID_AUTHORIZATION"),
            (lambda secret: f"Bearer {secret} {secret}", "INVALID_AUTHORIZATION"),
            (lambda secret: f"Bearer {secret[:-1]}", "INVALID_API_KEY"),
            (lambda secret: f"Bearer {secret}x", "INVALID_API_KEY"),
            (lambda secret: f"Bearer {secret.upper()}", "INVALID_API_KEY"),
            (lambda secret: "Bearer sk_test_123", "INVALID_API_KEY"),
            (lambda secret: f"Bearer {keys.new_secret('test', ['*'])}", "INVALID_API_KEY"),
        ],
    )
    def test_must_hold_exactly_one_known_key(self, write, code):
        answer = answer_to(Authorization=write(caller().secret))

        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert answer["WWW-Authenticate"] == "Bearer"

    def test_cannot_be_replaced_by_the_query_string(self):
        secret = caller().secret

        for name in ("key", "api_key", "access_token", "Authorization"):
            assert Client().get("/v0/products", {name: secret}).status_code == 401

    def test_cannot_be_replaced_by_being_signed_in(self):
        person = Client()
        person.force_login(User.objects.create_user("ada@example.com", "correct horse battery"))

        assert person.get("/v0/products").status_code == 401


class TestTheKey:
    def test_that_is_revoked_opens_nothing(self):
        server = caller()
        key = ApiKey.objects.get()
        now = timezone.now()
        keys.revoke(merchant_id=key.merchant_id, key_id=key.id, actor=audit.SYSTEM, now=now)

        answer = server.get("/v0/products")

        assert (answer.status_code, answer.json()["code"]) == (401, "API_KEY_REVOKED")

    def test_that_was_revoked_elsewhere_stops_within_seconds(self, monkeypatch):
        server, seconds = caller(), 0.0
        monkeypatch.setattr(keys.CACHE, "_clock", lambda: seconds)
        server.get("/v0/products")
        ApiKey.objects.update(revoked_at=timezone.now())

        seconds = keys.CACHE_SECONDS - 0.01
        assert server.get("/v0/products").status_code == 200
        seconds = keys.CACHE_SECONDS
        assert server.get("/v0/products").status_code == 401

    def test_that_has_ended_opens_nothing(self):
        server = caller()
        ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

        answer = server.get("/v0/products")

        assert (answer.status_code, answer.json()["code"]) == (401, "API_KEY_EXPIRED")

    def test_is_seen_to_be_used(self):
        caller().get("/v0/products")

        assert ApiKey.objects.get().last_used_at is not None

    def test_of_one_mode_sees_nothing_of_the_other(self):
        test = factories.merchant()
        live = type(test).objects.create(organization=test.organization, mode="live")
        in_test, in_live = caller(merchant=test), caller(merchant=live)
        product = in_test.post(
            "/v0/products", {"merchantId": in_test.merchant_id, "name": "A", "description": "B"}
        ).json()

        assert in_live.get(f"/v0/products/{product['id']}").status_code == 404
        assert in_live.get("/v0/products").json()["pagination"]["total"] == 0
        assert in_live.get("/v0/products", {"merchantId": in_test.merchant_id}).status_code == 404


class TestTheScope:
    @pytest.mark.parametrize(
        ("scopes", "reads", "writes"),
        [
            (["*"], 200, 400),
            (["products:write"], 200, 400),
            (["products:read"], 200, 403),
            (["plans:write"], 403, 403),
        ],
    )
    def test_covers_reading_or_writing_one_resource(self, scopes, reads, writes):
        server = caller(*scopes)

        assert server.get("/v0/products").status_code == reads
        assert server.post("/v0/products", {}).status_code == writes

    def test_is_named_when_it_is_missing(self):
        answer = caller("products:read").post("/v0/products", {})

        body = answer.json()
        assert (body["error"], body["code"]) == ("forbidden", "INSUFFICIENT_SCOPE")
        assert body["reason"] == "insufficient_scope"
        assert body["requiredPermissions"] == ["products:write"]
