"""The demo: made once, found again, and usable with what its file says."""

import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.utils import timezone

from billing.models import PriceVersion, Subscription, TopUp, Wallet
from merchants import ids, keys
from merchants.models import ApiKey, User

pytestmark = pytest.mark.django_db

NAMES = (
    "URL API_KEY MERCHANT_ID PRODUCT_ID METRIC_ID PLAN_ID PRICE_ID CUSTOMER_ID SUBSCRIPTION_ID EMAIL PASSWORD "
    "WALLET_ID PREMIUM_METRIC_ID PREMIUM_PRICE_ID TIME_METRIC_ID TIME_PRICE_ID CASES_METRIC_ID CASES_PRICE_ID "
    "TOKENS_METRIC_ID TOKENS_PRICE_ID"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "demo.env"


def seed(path: Path, url: str = "http://localhost:8000/") -> dict[str, str]:
    call_command("seed_demo", "--env-file", str(path), "--url", url)
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def rows() -> dict[str, int]:
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


class TestSeedDemo:
    def test_writes_what_a_client_needs_for_its_owner_only(self, path: Path) -> None:
        environment = seed(path)
        assert set(environment) == {f"FARTHING_{name}" for name in NAMES.split()}
        assert all(environment.values())
        assert environment["FARTHING_URL"] == "http://localhost:8000"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_makes_a_funded_active_subscription(self, path: Path) -> None:
        environment = seed(path)
        subscription = Subscription.objects.get()
        assert (ids.text("sub", subscription.id), subscription.status) == (
            environment["FARTHING_SUBSCRIPTION_ID"],
            "active",
        )
        wallet = Wallet.objects.get(kind="prepaid")
        assert (ids.text("acc", wallet.id), wallet.available) == (environment["FARTHING_WALLET_ID"], 100 * 10**9)
        prices = [Decimal(version.properties["unitPrice"]) for version in PriceVersion.objects.filter(model="standard")]
        assert sorted(prices) == [Decimal("0.00000035"), Decimal("0.001"), Decimal("0.004")]
        others = PriceVersion.objects.exclude(model="standard").order_by("model").values_list("model", flat=True)
        assert list(others) == ["formula", "graduated"]

    def test_writes_a_key_and_a_password_that_open(self, path: Path, rf: RequestFactory) -> None:
        environment = seed(path)
        headers = {"Authorization": f"Bearer {environment['FARTHING_API_KEY']}"}
        answer = Client(headers=headers).get(f"/v0/customers/{environment['FARTHING_CUSTOMER_ID']}")
        assert answer.status_code == 200
        signed_in: Any = authenticate(
            rf.post("/"), email=environment["FARTHING_EMAIL"], password=environment["FARTHING_PASSWORD"]
        )
        assert signed_in == User.objects.get()

    def test_changes_nothing_the_second_time(self, path: Path) -> None:
        first, before = seed(path), rows()
        assert seed(path) == first
        assert rows() == before

    def test_tops_up_once_whatever_was_spent(self, path: Path) -> None:
        seed(path)
        Wallet.objects.filter(kind="prepaid").update(spent=99 * 10**9)
        seed(path)
        assert TopUp.objects.count() == 1

    def test_makes_new_secrets_where_the_file_is_lost(self, path: Path) -> None:
        first = seed(path)
        path.unlink()
        second = seed(path)
        kept = {"FARTHING_API_KEY", "FARTHING_PASSWORD"}
        assert {name for name in first if first[name] != second[name]} == kept
        assert User.objects.get().check_password(second["FARTHING_PASSWORD"])
        assert keys.find(second["FARTHING_API_KEY"]) is not None

    def test_makes_a_new_key_where_the_old_one_was_revoked(self, path: Path) -> None:
        first = seed(path)
        ApiKey.objects.update(revoked_at=timezone.now())
        second = seed(path)
        assert second["FARTHING_API_KEY"] != first["FARTHING_API_KEY"]
        assert second["FARTHING_PASSWORD"] == first["FARTHING_PASSWORD"]
