"""Products over HTTP."""

import pytest

from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller("products:write")


def new_product(seller: Caller, **members: object) -> dict[str, object]:
    return {"merchantId": seller.merchant_id, "name": "Inference", "description": "Answers", **members}


class TestCreate:
    def test_answers_with_the_whole_product(self, seller):
        answer = seller.post("/v0/products", new_product(seller, metadata={"tier": "pro"}))

        product = answer.json()
        assert answer.status_code == 201
        assert answer["Content-Type"] == "application/json"
        assert product["id"].startswith("prod_")
        assert product["createdAt"].endswith("Z")
        assert product["createdAt"] == product["updatedAt"]
        assert {name: product[name] for name in ("object", "merchantId", "name", "description", "metadata")} == {
            "object": "product",
            "merchantId": seller.merchant_id,
            "name": "Inference",
            "description": "Answers",
            "metadata": {"tier": "pro"},
        }
