"""Fees over HTTP."""

import pytest

from tests import callers
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def product_id(seller):
    return callers.product(seller)["id"]


class TestCreate:
    def test_answers_with_the_whole_fee(self, seller, product_id):
        fee = callers.fee(seller, product_id, name="Setup")

        shown = seller.get(f"/v0/fees/{fee['id']}").json()
        assert shown == fee
        assert (fee["object"], fee["name"], fee["productId"]) == ("fee", "Setup", product_id)

    def test_hangs_from_no_product_of_another_merchant(self, product_id):
        stranger = caller()
        body = {"merchantId": stranger.merchant_id, "productId": product_id, "name": "A", "description": "B"}

        assert stranger.post("/v0/fees", body).status_code == 404


class TestUpdate:
    def test_changes_only_what_is_given(self, seller, product_id):
        fee = callers.fee(seller, product_id)

        changed = seller.patch(f"/v0/fees/{fee['id']}", {"name": "Renamed"}).json()

        assert changed == {**fee, "name": "Renamed", "updatedAt": changed["updatedAt"]}
        assert changed["updatedAt"] > fee["updatedAt"]


class TestDelete:
    def test_is_refused_while_the_fee_has_prices(self, seller, product_id):
        fee = callers.fee(seller, product_id)
        price = callers.price(seller, fee_id=fee["id"])

        answer = seller.delete(f"/v0/fees/{fee['id']}")

        blocker = {"type": "prices", "count": 1, "items": [{"id": price["id"], "status": "active"}]}
        assert (answer.status_code, answer.json()["code"]) == (409, "DELETE_BLOCKED")
        assert answer.json()["details"] == {"blockers": [blocker]}

    def test_takes_it_out_of_the_catalogue(self, seller, product_id):
        fee = callers.fee(seller, product_id)
        price = callers.price(seller, fee_id=fee["id"])
        assert seller.delete(f"/v0/prices/{price['id']}").status_code == 204

        answer = seller.delete(f"/v0/fees/{fee['id']}")

        assert answer.status_code == 204
        assert seller.get(f"/v0/fees/{fee['id']}").status_code == 404
        assert seller.delete(f"/v0/fees/{fee['id']}").status_code == 404


class TestList:
    def test_filters_by_product(self, seller, product_id):
        callers.fee(seller, callers.product(seller)["id"])
        fee = callers.fee(seller, product_id)

        page = seller.get("/v0/fees", {"productId": product_id}).json()

        assert [each["id"] for each in page["data"]] == [fee["id"]]
