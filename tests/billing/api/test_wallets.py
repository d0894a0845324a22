"""Wallets and top-ups over HTTP."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing import wallets
from billing.models import Wallet
from customers import books
from merchants import ids
from merchants.models import AuditEntry, Mode
from tests import factories
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


def prepaid(seller: Caller) -> Wallet:
    customer = factories.customer(merchant=seller.merchant)
    with transaction.atomic():
        _, now = books.lock(customer.bucket, customer.id)
        pots = wallets.ensure_pots(bucket=customer.bucket, customer_id=customer.id, currency="USD", now=now)
    return pots[0]


def path_of(wallet: Wallet) -> str:
    return f"/v0/wallets/{ids.text('acc', wallet.id)}"


class TestGetWallet:
    def test_shows_what_is_in_it_in_nanos_and_in_dollars(self, seller: Caller) -> None:
        wallet = prepaid(seller)
        Wallet.objects.filter(id=wallet.id).update(balance=100_000_000_000, spent=1_500_000, held=250_000_000)
        shown = seller.get(path_of(wallet)).json()
        assert shown.pop("createdAt").endswith("Z")
        assert shown == {
            "id": ids.text("acc", wallet.id),
            "object": "wallet",
            "customerId": ids.text("cus", wallet.customer_id),
            "kind": "prepaid",
            "currency": "USD",
            "balance": "100000000000",
            "spent": "1500000",
            "held": "250000000",
            "available": "99748500000",
            "creditLimit": None,
            "amounts": {"balance": "100.00", "spent": "0.0015", "held": "0.25", "available": "99.7485"},
        }

    def test_shows_null_where_nothing_limits_a_wallet(self, seller: Caller) -> None:
        wallet = prepaid(seller)
        credit = Wallet.objects.get(customer_id=wallet.customer_id, kind="credit")
        shown = seller.get(path_of(credit)).json()
        assert (shown["available"], shown["amounts"]["available"]) == (None, None)

    def test_hides_another_merchants_wallet(self, seller: Caller) -> None:
        path = path_of(prepaid(caller()))
        assert seller.get(path).status_code == seller.get(f"{path}/topups").status_code == 404
        assert seller.post(f"{path}/topups", {"amount": "1"}).status_code == 404
        assert seller.get("/v0/wallets/acc_x").status_code == 404


class TestListWallets:
    def test_lists_those_of_the_merchant_or_of_a_customer(self, seller: Caller) -> None:
        first = prepaid(seller)
        prepaid(seller)
        prepaid(caller())
        with CaptureQueriesContext(connection) as queries:
            page = seller.get("/v0/wallets", {"limit": 3}).json()
        assert (page["pagination"]["total"], len(page["data"])) == (4, 3)
        assert len([query for query in queries if "billing_" in query["sql"]]) == 2
        of_customer = seller.get("/v0/wallets", {"customerId": ids.text("cus", first.customer_id)}).json()
        assert {wallet["kind"] for wallet in of_customer["data"]} == {"prepaid", "credit"}

    def test_hides_another_merchants_customer(self, seller: Caller) -> None:
        stranger = prepaid(caller())
        answer = seller.get("/v0/wallets", {"customerId": ids.text("cus", stranger.customer_id)})
        assert answer.status_code == 404


class TestPostTopUp:
    def top_up(self, seller: Caller, wallet: Wallet, body: Any, **headers: str) -> Any:
        return seller.post(f"{path_of(wallet)}/topups", body, **headers)

    def test_adds_money(self, seller: Caller) -> None:
        wallet = prepaid(seller)
        answer = self.top_up(seller, wallet, {"amount": "100.50"})
        assert answer.status_code == 201
        shown = answer.json()
        assert shown.pop("createdAt").endswith("Z")
        top_up_id = shown.pop("id")
        assert shown == {
            "object": "topup",
            "walletId": ids.text("acc", wallet.id),
            "customerId": ids.text("cus", wallet.customer_id),
            "amount": "100.50",
            "currency": "USD",
            "status": "success",
            "paymentMethod": "test_success",
            "isAutoTopup": False,
        }
        assert seller.get(path_of(wallet)).json()["amounts"]["available"] == "100.50"
        assert seller.get(f"{path_of(wallet)}/topups/{top_up_id}").json()["amount"] == "100.50"
        assert seller.get(f"{path_of(wallet)}/topups").json()["pagination"]["total"] == 1

    def test_is_declined_when_told_to(self, seller: Caller) -> None:
        wallet = prepaid(seller)
        answer = self.top_up(seller, wallet, {"amount": "100", "paymentMethod": "test_decline"})
        assert (answer.status_code, answer.json()["status"]) == (201, "failed")
        assert seller.get(path_of(wallet)).json()["balance"] == "0"

    @pytest.mark.parametrize("in_header", [True, False])
    def test_repeats_its_answer_under_a_key(self, seller: Caller, in_header: bool) -> None:
        wallet = prepaid(seller)
        body = {"amount": "5"} if in_header else {"amount": "5", "idempotencyKey": "k"}
        headers = {"Idempotency_Key": "k"} if in_header else {}
        first, again = (self.top_up(seller, wallet, body, **headers) for _ in range(2))
        assert first.content == again.content
        assert (first.has_header("Idempotent-Replayed"), again["Idempotent-Replayed"]) == (False, "true")
        assert self.top_up(seller, wallet, {**body, "amount": "6"}, **headers).status_code == 409
        assert seller.get(path_of(wallet)).json()["amounts"]["balance"] == "5.00"

    def test_takes_one_key_from_header_and_body(self, seller: Caller) -> None:
        wallet = prepaid(seller)
        body = {"amount": "5", "idempotencyKey": "k"}
        assert self.top_up(seller, wallet, body, Idempotency_Key="k").status_code == 201
        assert self.top_up(seller, wallet, body, Idempotency_Key="other").status_code == 400

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"amount": 5},
            {"amount": "-5"},
            {"amount": "0"},
            {"amount": "0.001"},
            {"amount": "1e3"},
            {"amount": "1000000.01"},
            {"amount": "999999999999"},
            {"amount": "5", "paymentMethod": "stripe"},
            {"amount": "5", "idempotencyKey": "with space"},
            {"amount": "5", "currency": "EUR"},
        ],
    )
    def test_refuses_what_makes_no_sense(self, seller: Caller, body: dict[str, Any]) -> None:
        wallet = prepaid(seller)
        answer = self.top_up(seller, wallet, body)
        assert (answer.status_code, answer.json()["error"]) == (400, "validation_error")
        assert seller.get(path_of(wallet)).json()["balance"] == "0"

    def test_is_refused_in_live_mode(self) -> None:
        live = caller(merchant=factories.merchant(mode=Mode.LIVE))
        answer = self.top_up(live, prepaid(live), {"amount": "5"})
        assert (answer.status_code, answer.json()["code"]) == (403, "TEST_PROCESSOR_IN_LIVE_MODE")


class TestCreditLimit:
    def limit(self, seller: Caller, wallet: Wallet, limit: Any) -> Any:
        return seller.patch(path_of(wallet), {"creditLimit": limit})

    def test_is_set_and_lifted(self, seller: Caller) -> None:
        credit = Wallet.objects.get(customer_id=prepaid(seller).customer_id, kind="credit")
        assert self.limit(seller, credit, "12.5").json()["creditLimit"] == "12500000000"
        assert self.limit(seller, credit, "0").json()["available"] == "0"
        assert self.limit(seller, credit, None).json()["creditLimit"] is None
        said = AuditEntry.objects.filter(action="wallet.limited").order_by("number").values_list("changes", flat=True)
        assert said[0] == {"before": None, "after": "12.50"}

    def test_is_not_of_a_prepaid_wallet(self, seller: Caller) -> None:
        answer = self.limit(seller, prepaid(seller), "1")
        assert (answer.status_code, answer.json()["code"]) == (422, "NOT_ON_CREDIT")

    @pytest.mark.parametrize("limit", ["-1", 5, "1e3", "0.0000000001"])
    def test_is_a_plain_amount(self, seller: Caller, limit: Any) -> None:
        credit = Wallet.objects.get(customer_id=prepaid(seller).customer_id, kind="credit")
        answer = self.limit(seller, credit, limit)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "creditLimit")
        assert seller.patch(path_of(credit), {}).status_code == 400
