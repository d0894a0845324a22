"""Budgets over HTTP."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import Wallet
from customers.models import Book, Customer
from entitlements import budgets
from entitlements.models import Budget, BudgetCounter
from merchants import ids
from tests import callers, factories
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db

AT = datetime.fromisoformat("2026-03-29T09:00:00Z")  # the day on which Berlin loses an hour


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def customer(seller: Caller) -> Customer:
    made = factories.customer(merchant=seller.merchant)
    Book.objects.filter(customer_id=made.id).update(test_clock=AT)
    return made


def new(customer: Customer, **members: Any) -> dict[str, Any]:
    """A sound request; a member that is None is left out."""
    body = {"customerId": ids.text("cus", customer.id), "name": "Cap", "limit": "10", "currency": "USD"}
    body |= {"window": "day", "timezone": "Europe/Berlin"} | members
    return {name: value for name, value in body.items() if value is not None}


def made(seller: Caller, customer: Customer, **members: Any) -> dict[str, Any]:
    return callers.made(seller.post("/v0/budgets", new(customer, **members)))


def use(budget: dict[str, Any], *, value: str = "", spent: int = 0, held: int = 0, at: datetime = AT) -> None:
    """Count something against a budget, in nanos, as the engine would in the day of Berlin that ends at 22:00."""
    row = Budget.objects.get(id=ids.parse("bgt", budget["id"]))
    end = at.replace(hour=22, minute=0)
    counter = {"window_start": end - timedelta(hours=23), "window_end": end, "spent": spent, "held": held}
    named = {"bucket": row.bucket, "customer_id": row.customer_id, "budget_id": row.id, "value": value}
    if budgets.is_counted_by_wallets(row):
        counter |= {"base": 0, "spent": 0, "held": 0}
        Wallet.objects.create(
            bucket=row.bucket,
            customer_id=row.customer_id,
            id=ids.new(row.bucket),
            kind="credit",
            currency=row.currency,
            used=spent,
            held=held,
            created_at=at,
        )
        BudgetCounter.objects.filter(**named).update(**counter)
    else:
        BudgetCounter.objects.create(**named, **counter)


class TestCreateBudget:
    def test_shows_what_was_set_and_how_far_it_is_used(self, seller: Caller, customer: Customer) -> None:
        shown = made(seller, customer, limit="25.5")
        assert shown.pop("id").startswith("bgt_")
        assert shown == {
            "object": "budget",
            "merchantId": seller.merchant_id,
            "customerId": ids.text("cus", customer.id),
            "name": "Cap",
            "scope": "customer",
            "scopeValue": None,
            "productId": None,
            "billableMetricId": None,
            "currency": "USD",
            "limit": "25.50",
            "window": "day",
            "timezone": "Europe/Berlin",
            "enforcement": "hard",
            "enabled": True,
            "setBy": "merchant",
            "current": {
                "windowStart": "2026-03-28T23:00:00Z",
                "resetsAt": "2026-03-29T22:00:00Z",
                "spent": "0.00",
                "held": "0.00",
                "remaining": "25.50",
                "crossedAt": None,
            },
            "createdAt": "2026-03-29T09:00:00Z",
            "updatedAt": "2026-03-29T09:00:00Z",
            "archivedAt": None,
        }
        assert Book.objects.get(customer_id=customer.id).budget_version == 1

    def test_counts_units_without_a_currency(self, seller: Caller, customer: Customer) -> None:
        metric_id = callers.metric(seller, callers.product(seller)["id"])["id"]
        shown = made(seller, customer, currency=None, billableMetricId=metric_id, limit="1000", window="total")
        assert (shown["limit"], shown["current"]["remaining"], shown["current"]["resetsAt"]) == ("1000", "1000", None)

    def test_takes_the_organizations_time_zone(self) -> None:
        seller = caller(merchant=factories.merchant(timezone="Asia/Kathmandu"))
        shown = made(seller, factories.customer(merchant=seller.merchant), timezone=None)
        assert shown["timezone"] == "Asia/Kathmandu"

    def test_answers_a_used_key_again(self, seller: Caller, customer: Customer) -> None:
        first, again = (seller.post("/v0/budgets", new(customer), Idempotency_Key="a") for _ in range(2))
        assert first.json() == again.json()
        assert again["Idempotent-Replayed"] == "true"
        assert seller.post("/v0/budgets", new(customer, limit="1"), Idempotency_Key="a").status_code == 409
        assert Budget.objects.count() == 1

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"name": ""}, "name"),
            ({"limit": 5}, "limit"),
            ({"limit": "-5"}, "limit"),
            ({"limit": "0.0000000001"}, "limit"),
            ({"currency": "usd"}, "currency"),
            ({"currency": None}, "currency"),
            ({"window": "week"}, "window"),
            ({"window": None}, "window"),
            ({"timezone": "Mars/Olympus"}, "timezone"),
            ({"timezone": "../../etc/passwd"}, "timezone"),
            ({"scope": "team"}, "scope"),
            ({"scopeValue": "x"}, "scopeValue"),
            ({"scope": "agent", "scopeValue": ""}, "scopeValue"),
            ({"scope": "agent", "scopeValue": "a\n"}, "scopeValue"),
            ({"scope": "agent", "scopeValue": "a" * 501}, "scopeValue"),
            ({"scope": "agent", "scopeValue": ["a"]}, "scopeValue"),
            ({"enforcement": "firm"}, "enforcement"),
            ({"enabled": "yes"}, "enabled"),
            ({"setBy": "us"}, "setBy"),
            ({"spent": "0"}, "spent"),
        ],
    )
    def test_refuses_what_makes_no_budget_and_sets_none(
        self, seller: Caller, customer: Customer, members: dict[str, Any], field: str
    ) -> None:
        answer = seller.post("/v0/budgets", new(customer, **members))
        assert answer.status_code == 400, answer.content
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert not Budget.objects.exists()

    def test_refuses_units_that_do_not_add_up_and_metrics_of_other_products(
        self, seller: Caller, customer: Customer
    ) -> None:
        products = [callers.product(seller)["id"] for _ in range(2)]
        most = callers.metric(seller, products[0], aggregation="MAX")["id"]
        refused = seller.post("/v0/budgets", new(customer, currency=None, billableMetricId=most))
        assert (refused.status_code, refused.json()["code"]) == (422, "METRIC_NOT_ADDITIVE")
        refused = seller.post("/v0/budgets", new(customer, billableMetricId=most, productId=products[1]))
        assert refused.status_code == 400

    def test_stops_at_a_number_of_budgets(self, seller: Caller, customer: Customer, monkeypatch: Any) -> None:
        monkeypatch.setattr("entitlements.budgets.BUDGETS_MAX", 1)
        first = made(seller, customer)
        refused = seller.post("/v0/budgets", new(customer))
        assert (refused.status_code, refused.json()["code"]) == (409, "TOO_MANY_BUDGETS")
        assert seller.delete(f"/v0/budgets/{first['id']}").status_code == 204
        made(seller, customer)


class TestReadBudgets:
    def test_says_what_remains_now(self, seller: Caller, customer: Customer) -> None:
        budget = made(seller, customer)
        use(budget, spent=4_000_000_000, held=1_500_000_000)
        current = seller.get(f"/v0/budgets/{budget['id']}").json()["current"]
        assert (current["spent"], current["held"], current["remaining"]) == ("4.00", "1.50", "4.50")
        Book.objects.filter(customer_id=customer.id).update(test_clock=AT + timedelta(days=1))
        current = seller.get(f"/v0/budgets/{budget['id']}").json()["current"]
        assert (current["spent"], current["held"], current["remaining"]) == ("0.00", "1.50", "8.50")
        assert current["resetsAt"] == "2026-03-30T22:00:00Z"

    def test_pages_through_the_values_of_a_scope(self, seller: Caller, customer: Customer) -> None:
        budget = made(seller, customer, scope="agent")
        for value in ("b", "a", "c"):
            use(budget, value=value, spent=12_000_000_000)
        assert seller.get(f"/v0/budgets/{budget['id']}").json()["current"] is None
        page = seller.get(f"/v0/budgets/{budget['id']}/counters", {"limit": 2}).json()
        assert [(row["scopeValue"], row["spent"], row["remaining"]) for row in page["data"]] == [
            ("a", "12.00", "0.00"),
            ("b", "12.00", "0.00"),
        ]
        assert page["pagination"] == {"limit": 2, "offset": 0, "total": 3}

    def test_lists_a_customers_in_as_many_queries_for_many_as_for_one(self, seller: Caller, customer: Customer) -> None:
        other = factories.customer(merchant=seller.merchant)
        made(seller, customer)
        made(seller, other)
        queries = []
        for _ in range(2):
            with CaptureQueriesContext(
                connection,
            ) as captured:
                page = seller.get("/v0/budgets", {"customerId": ids.text("cus", customer.id)}).json()
            queries.append(len(captured))
            made(seller, customer)
        assert page["pagination"]["total"] == 2
        assert queries[0] == queries[1]
        assert seller.get("/v0/budgets").json()["pagination"]["total"] == 4

    def test_hides_what_is_anothers(self, seller: Caller, customer: Customer) -> None:
        stranger, budget = caller(), made(seller, customer)
        for method, path in (("GET", ""), ("GET", "/counters"), ("PATCH", ""), ("DELETE", "")):
            answer = stranger.send(method, f"/v0/budgets/{budget['id']}{path}", {} if method == "PATCH" else b"")
            assert answer.status_code == 404, (method, path)
        assert stranger.post("/v0/budgets", new(customer)).status_code == 404

    def test_needs_the_scope(self, seller: Caller, customer: Customer) -> None:
        reader = caller("budgets:read", merchant=seller.merchant)
        assert reader.get("/v0/budgets").status_code == 200
        assert reader.post("/v0/budgets", new(customer)).status_code == 403


class TestChangeBudgets:
    def test_changes_what_may_change(self, seller: Caller, customer: Customer) -> None:
        budget = made(seller, customer)
        changes = {"name": "B", "limit": "7", "enforcement": "soft", "enabled": False}
        changed = seller.patch(f"/v0/budgets/{budget['id']}", changes).json()
        assert {name: changed[name] for name in changes} == {**changes, "limit": "7.00"}
        assert Book.objects.get(customer_id=customer.id).budget_version == 2

    @pytest.mark.parametrize("members", [{"window": "hour"}, {"limit": 7}, {"limit": None}, {"name": None}])
    def test_refuses_the_rest(self, seller: Caller, customer: Customer, members: dict[str, Any]) -> None:
        budget = made(seller, customer)
        answer = seller.patch(f"/v0/budgets/{budget['id']}", members)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, next(iter(members)))

    def test_archives_once_for_good(self, seller: Caller, customer: Customer) -> None:
        budget = made(seller, customer)
        use(budget, spent=1)
        path = f"/v0/budgets/{budget['id']}"
        assert [seller.delete(path).status_code for _ in range(2)] == [204, 204]
        shown = seller.get(path).json()
        assert (shown["current"], shown["archivedAt"]) == (None, "2026-03-29T09:00:00Z")
        assert seller.patch(path, {"limit": "1"}).status_code == 404
        assert seller.get("/v0/budgets").json()["data"] == []
        assert Book.objects.get(customer_id=customer.id).budget_version == 2


def test_windows_follow_the_clock_of_the_world_where_the_customer_has_none(seller: Caller) -> None:
    shown = made(seller, factories.customer(merchant=seller.merchant), window="hour", timezone="UTC")
    start = datetime.fromisoformat(shown["current"]["windowStart"])
    assert start <= timezone.now() < start + timedelta(hours=1)
