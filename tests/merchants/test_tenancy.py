"""What every view of the API does, shown on products."""

import threading

import pytest
from django.db import connection
from django.test import Client

from merchants.models import IdempotentAnswer, Product
from tests.callers import Caller, caller


@pytest.fixture
def seller() -> Caller:
    return caller()


def new_product(seller: Caller, **members: object) -> dict[str, object]:
    return {"merchantId": seller.merchant_id, "name": "Inference", "description": "Answers", **members}


@pytest.mark.django_db
class TestReadBody:
    @pytest.mark.parametrize("name", ["id", "merchant", "mode", "createdAt", "object", "balance", "Name", ""])
    def test_refuses_members_it_does_not_know_by_name(self, seller, name):
        answer = seller.post("/v0/products", new_product(seller, **{name: "x"}))

        assert answer.status_code == 400
        assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [
            (name or "body", "UNKNOWN_FIELD")
        ]
        assert not Product.objects.exists()

    def test_names_every_fault(self, seller):
        answer = seller.post("/v0/products", {"merchantId": seller.merchant_id, "name": 5})

        faults = {(error["field"], error["code"]) for error in answer.json()["errors"]}
        assert faults == {("name", "INVALID_TEXT"), ("description", "REQUIRED")}

    def test_takes_only_the_callers_own_merchant(self, seller):
        answer = seller.post("/v0/products", new_product(caller()))

        assert answer.status_code == 404
        assert not Product.objects.exists()


@pytest.mark.django_db
class TestReadQuery:
    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=1e1",
            "limit=abc",
            "limit=",
            "limit=٣",
            "limit=+5",
            "limit=5&limit=5",
            "offset=-1",
            "offset=99999999999999999999",
            "limit=99999999999999999999999999999999",
            "ordering=password",
            "merchant__id=1",
            "page=2",
        ],
    )
    def test_refuses_what_it_does_not_know(self, seller, query):
        answer = seller.get(f"/v0/products?{query}")

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.django_db
class TestPage:
    def test_cuts_a_list_in_a_stable_order(self, seller):
        names = [f"Product {number}" for number in range(5)]
        for name in names:
            seller.post("/v0/products", new_product(seller, name=name))

        page = seller.get("/v0/products", {"limit": 2, "offset": 1}).json()

        assert [product["name"] for product in page["data"]] == names[1:3]
        assert page["object"] == "list"
        assert page["pagination"] == {"limit": 2, "offset": 1, "total": 5}

    def test_shows_nothing_of_other_merchants(self, seller):
        other = caller()
        other.post("/v0/products", new_product(other))

        assert seller.get("/v0/products").json()["data"] == []


@pytest.mark.django_db
class TestTheRegion:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"X-Paygentic-Region": "europe-west1"}, 200),
            ({"X-Paygentic-Edge": "true"}, 200),
            ({"X-Paygentic-Edge": "false"}, 200),
            ({"X-Paygentic-Region": "mars-north1"}, 400),
            ({"X-Paygentic-Region": ""}, 400),
            ({"X-Paygentic-Edge": "yes"}, 400),
        ],
    )
    def test_must_be_known(self, seller, headers, status):
        assert seller.get("/v0/products", None, **headers).status_code == status


@pytest.mark.django_db
class TestAnswerOnce:
    def test_repeats_the_first_answer_to_the_byte(self, seller):
        first = seller.post("/v0/products", new_product(seller), Idempotency_Key="a")
        second = seller.post("/v0/products", new_product(seller), Idempotency_Key="a")

        assert (first.status_code, second.status_code) == (201, 201)
        assert first.content == second.content
        assert "Idempotent-Replayed" not in first.headers
        assert second["Idempotent-Replayed"] == "true"
        assert Product.objects.count() == 1

    def test_refuses_the_key_for_something_else(self, seller):
        seller.post("/v0/products", new_product(seller), Idempotency_Key="a")

        answer = seller.post("/v0/products", new_product(seller, name="Other"), Idempotency_Key="a")

        assert (answer.status_code, answer.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
        assert Product.objects.count() == 1

    def test_does_not_mind_the_order_of_members(self, seller):
        seller.post("/v0/products", new_product(seller), Idempotency_Key="a")

        answer = seller.post("/v0/products", dict(reversed(new_product(seller).items())), Idempotency_Key="a")

        assert answer["Idempotent-Replayed"] == "true"

    def test_keeps_the_keys_of_merchants_and_kinds_apart(self, seller):
        other = caller()
        product = seller.post("/v0/products", new_product(seller), Idempotency_Key="a").json()
        body = {"merchantId": seller.merchant_id, "productId": product["id"], "name": "A", "description": "B"}

        assert other.post("/v0/products", new_product(other), Idempotency_Key="a").status_code == 201
        assert seller.post("/v0/fees", body, Idempotency_Key="a").status_code == 201

    def test_does_not_burn_a_key_on_a_refusal(self, seller):
        body = {"merchantId": seller.merchant_id, "productId": "prod_" + "0" * 26, "name": "A", "description": "B"}
        assert seller.post("/v0/fees", body, Idempotency_Key="a").status_code == 404
        assert not IdempotentAnswer.objects.exists()

        body["productId"] = seller.post("/v0/products", new_product(seller)).json()["id"]
        assert seller.post("/v0/fees", body, Idempotency_Key="a").status_code == 201

    @pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
    def test_refuses_what_is_no_key(self, seller, key):
        answer = seller.post("/v0/products", new_product(seller), Idempotency_Key=key)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
        assert not Product.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestAnswerOnceInARace:
    def test_makes_one_effect_and_one_answer(self, seller):
        answers: list[tuple[int, bytes]] = []
        barrier = threading.Barrier(8)

        def send() -> None:
            try:
                barrier.wait()
                answer = seller.post("/v0/products", new_product(seller), Idempotency_Key="race")
                answers.append((answer.status_code, answer.content))
            finally:
                connection.close()

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(answers) == 8
        assert len(set(answers)) == 1
        assert Product.objects.count() == 1


@pytest.mark.django_db
class TestTheShape:
    @pytest.mark.parametrize("method", ["PUT", "OPTIONS", "HEAD", "TRACE", "BREW"])
    def test_of_a_method_that_is_not_allowed(self, seller, method):
        answer = seller.send(method, "/v0/products")

        assert answer.status_code == 405
        assert answer["Allow"] == "GET, POST"

    def test_of_a_refusal_carries_the_id_of_the_request(self, seller):
        answer = seller.get("/v0/products/prod_1", None, X_Request_Id="mine-12345")

        assert answer.json() == {
            "error": "not_found",
            "message": "There is no such object.",
            "code": "NOT_FOUND",
            "requestId": "mine-12345",
        }
        assert answer["X-Request-Id"] == "mine-12345"

    def test_does_not_depend_on_what_the_client_accepts(self, seller):
        for accepted in ("text/html", "application/xml", "*/*;q=0"):
            answer = seller.get("/v0/products", None, Accept=accepted)
            assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")

    def test_of_a_route_that_does_not_exist(self):
        answer = Client().get("/v0/nothing")

        assert (answer.status_code, answer.json()["code"]) == (404, "ROUTE_NOT_FOUND")
