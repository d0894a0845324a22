"""Credit and the history of a balance over HTTP."""

import pytest

from billing.models import CreditLot
from merchants import ids
from tests import callers, factories
from tests.billing.settled import DOLLAR, new_buyer
from tests.callers import Caller


@pytest.fixture
def buyer(db: None):
    return new_buyer(balance="10")


@pytest.fixture
def seller(buyer) -> Caller:
    return callers.caller(merchant=buyer.merchant)


@pytest.fixture
def wallet(buyer) -> str:
    return f"/v0/wallets/{ids.text('acc', buyer.prepaid.id)}"


class TestCredits:
    def test_are_given_listed_and_taken_back(self, seller, wallet):
        body = {"amount": "2.5", "name": "Welcome", "priority": 7, "expiresAt": "2099-01-01T00:00:00Z"}
        made = callers.made(seller.post(f"{wallet}/credits", body))
        assert made["object"] == "credit"
        assert (made["amount"], made["remaining"], made["removed"]) == ("2.50", "2.50", "0.00")
        assert (made["priority"], made["status"], made["expiresAt"]) == (7, "active", "2099-01-01T00:00:00Z")
        assert seller.get(f"{wallet}/credits").json()["data"] == [made]
        gone = seller.delete(f"{wallet}/credits/{made['id']}")
        assert (gone.status_code, gone.json()["status"], gone.json()["removed"]) == (200, "voided", "2.50")
        assert seller.get(f"{wallet}/credits/{made['id']}").json() == gone.json()

    def test_are_given_once_per_key_in_header_or_body(self, seller, wallet):
        first = seller.post(f"{wallet}/credits", {"amount": "1"}, Idempotency_Key="k")
        again = seller.post(f"{wallet}/credits", {"amount": "1", "idempotencyKey": "k"})
        assert (first.json(), "Idempotent-Replayed" in first) == (again.json(), False)
        assert again["Idempotent-Replayed"] == "true"
        other = seller.post(f"{wallet}/credits", {"amount": "2"}, Idempotency_Key="k")
        assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
        assert CreditLot.objects.filter(kind="promotional").count() == 1

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "amount"),
            ({"amount": "0"}, "amount"),
            ({"amount": "1", "priority": 101}, "priority"),
            ({"amount": "1", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
            ({"amount": "1", "name": ""}, "name"),
        ],
    )
    def test_are_refused_by_the_name_of_the_field(self, seller, wallet, body, field):
        answer = seller.post(f"{wallet}/credits", body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


class TestTransactions:
    def test_tell_each_movement_and_page_by_token(self, seller, wallet):
        credit = callers.made(seller.post(f"{wallet}/credits", {"amount": "2"}))
        first = seller.get(f"{wallet}/transactions", {"limit": 1}).json()
        (row,) = first["data"]
        assert (row["type"], row["amount"], row["balance"]) == ("credit", str(2 * DOLLAR), str(12 * DOLLAR))
        assert (row["referenceId"], row["usage"]) == (credit["id"], None)
        rest = seller.get(f"{wallet}/transactions", {"pageToken": first["nextPageToken"], "groupBy": "day"}).json()
        assert [(row["type"], row["balance"]) for row in rest["data"]] == [("topup", str(10 * DOLLAR))]
        assert rest["nextPageToken"] is None

    def test_refuse_what_is_no_token_or_no_span(self, seller, wallet):
        for query, code in (({"pageToken": "x"}, "INVALID_PAGE_TOKEN"), ({"groupBy": "week"}, "INVALID_CHOICE")):
            answer = seller.get(f"{wallet}/transactions", query)
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)

    def test_of_another_merchants_wallet_do_not_exist(self, wallet):
        stranger = callers.caller(merchant=factories.merchant())
        assert stranger.get(f"{wallet}/transactions").status_code == 404
