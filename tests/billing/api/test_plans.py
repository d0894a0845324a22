"""Plans over HTTP."""

from datetime import UTC, datetime

import pytest

from billing import rollouts
from merchants import ids
from merchants.models import AuditEntry
from tests import callers, factories
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def product_id(seller):
    return callers.product(seller)["id"]


@pytest.fixture
def price_id(seller, product_id):
    return callers.price(seller, metric_id=callers.metric(seller, product_id)["id"])["id"]


def refusal(answer) -> tuple[int, str, str]:
    """Status, field and code of a refused request."""
    first = answer.json()["errors"][0]
    return answer.status_code, first["field"], first["code"]


class TestCreate:
    def test_tells_the_product_from_the_prices(self, seller, product_id, price_id):
        plan = callers.plan(seller, [price_id])

        assert plan["productId"] == product_id

    def test_shows_the_prices_in_full(self, seller, price_id):
        plan = callers.plan(seller, [price_id])

        assert [price["id"] for price in plan["prices"]] == [price_id]
        assert plan["prices"][0]["properties"] == {"unitPrice": "0.0025"}
        assert plan["paymentTerm"] == {"instant": True, "in_arrears": False}

    def test_takes_the_defaults_of_the_contract(self, seller, price_id):
        plan = callers.plan(seller, [price_id])

        assert {
            name: plan[name] for name in ("billingCadence", "billingInterval", "taxBehavior", "defaultTaxCode")
        } == {
            "billingCadence": "P1M",
            "billingInterval": "monthly",
            "taxBehavior": "exclusive",
            "defaultTaxCode": "eservice",
        }
        assert (plan["defaultTaxRate"], plan["renewalReminderEnabled"], plan["renewalReminderDays"]) == (0, True, 3)

    @pytest.mark.parametrize(
        ("asked", "cadence", "interval"),
        [
            ({"billingInterval": "annual"}, "P1Y", "yearly"),
            ({"billingInterval": "quarterly"}, "P3M", "quarterly"),
            ({"billingInterval": "yearly", "billingCadence": "P1M"}, "P1M", "monthly"),
        ],
    )
    def test_reads_an_interval_as_a_cadence(self, seller, price_id, asked, cadence, interval):
        plan = callers.plan(seller, [price_id], **asked)

        assert (plan["billingCadence"], plan["billingInterval"]) == (cadence, interval)

    def test_needs_a_product_or_prices(self, seller):
        answer = seller.post("/v0/plans", {"merchantId": seller.merchant_id, "name": "Empty", "currency": "USD"})

        assert refusal(answer) == (400, "productId", "REQUIRED")

    @pytest.mark.parametrize("currency", ["usd", "XXX", "US", "USDX", 840])
    def test_refuses_what_is_no_currency(self, seller, price_id, currency):
        body = {"merchantId": seller.merchant_id, "name": "A", "currency": currency, "prices": [price_id]}

        assert refusal(seller.post("/v0/plans", body)) == (400, "currency", "INVALID_CURRENCY")

    def test_refuses_a_price_of_another_product(self, seller, price_id):
        other = callers.product(seller)["id"]
        body = {"merchantId": seller.merchant_id, "name": "A", "currency": "USD", "prices": [price_id]}

        answer = seller.post("/v0/plans", {**body, "productId": other})

        assert refusal(answer) == (400, "prices", "PRICE_PRODUCT_MISMATCH")

    def test_refuses_to_price_a_metric_twice(self, seller, product_id):
        metric_id = callers.metric(seller, product_id)["id"]
        twice = [callers.price(seller, metric_id=metric_id)["id"] for _ in range(2)]

        answer = seller.post(
            "/v0/plans", {"merchantId": seller.merchant_id, "name": "A", "currency": "USD", "prices": twice}
        )

        assert refusal(answer) == (400, "prices", "PRICED_TWICE")

    def test_refuses_a_price_that_counts_use_in_other_periods(self, seller, product_id):
        metric_id = callers.metric(seller, product_id)["id"]
        yearly = callers.price(seller, metric_id=metric_id, billingCadence="P1Y")["id"]

        answer = seller.post(
            "/v0/plans", {"merchantId": seller.merchant_id, "name": "A", "currency": "USD", "prices": [yearly]}
        )

        assert refusal(answer) == (400, "prices", "CADENCE_MISMATCH")

    @pytest.mark.parametrize("cadence", ["P0D", "P1M", "P3M", "P1Y"])
    def test_takes_a_fee_of_any_cadence(self, seller, product_id, cadence):
        fee_id = callers.fee(seller, product_id)["id"]
        price_id = callers.price(seller, fee_id=fee_id, billingCadence=cadence)["id"]

        assert callers.plan(seller, [price_id])["prices"][0]["billingCadence"] == cadence

    def test_refuses_a_price_of_another_merchant_as_if_it_did_not_exist(self, seller, price_id):
        stranger = caller()

        answer = stranger.post(
            "/v0/plans", {"merchantId": stranger.merchant_id, "name": "A", "currency": "USD", "prices": [price_id]}
        )

        assert answer.status_code == 404

    def test_refuses_the_same_price_named_twice(self, seller, price_id):
        answer = seller.post(
            "/v0/plans",
            {"merchantId": seller.merchant_id, "name": "A", "currency": "USD", "prices": [price_id, price_id]},
        )

        assert refusal(answer) == (400, "prices", "INVALID_PRICES")


class TestUpdate:
    def test_renames_without_a_new_version(self, seller, price_id):
        plan = callers.plan(seller, [price_id])

        changed = seller.patch(f"/v0/plans/{plan['id']}", {"name": "Renamed"}).json()

        assert (changed["name"], changed["version"]) == ("Renamed", 1)

    @pytest.mark.parametrize(
        "change", [{"defaultTaxRate": 8.5}, {"taxBehavior": "inclusive"}, {"billingCadence": "P1Y"}, {"prices": []}]
    )
    def test_makes_a_version_of_what_concerns_money(self, seller, price_id, change):
        plan = callers.plan(seller, [price_id])

        changed = seller.patch(f"/v0/plans/{plan['id']}", change).json()

        assert changed["version"] == 2
        assert {name: changed[name] for name in change} == change

    def test_makes_no_version_of_what_stays_the_same(self, seller, price_id):
        plan = callers.plan(seller, [price_id], defaultTaxRate="8.5")

        changed = seller.patch(f"/v0/plans/{plan['id']}", {"defaultTaxRate": 8.5, "prices": [price_id]}).json()

        assert changed["version"] == 1


class TestAvailable:
    def customer_id(self, seller: Caller) -> str:
        return ids.text("cus", factories.customer(merchant=seller.merchant).id)

    def test_leaves_out_products_the_customer_is_subscribed_to(self, seller, price_id):
        plan, customer_id = callers.plan(seller, [price_id]), self.customer_id(seller)
        free = callers.plan(seller, [], productId=callers.product(seller)["id"])

        def available() -> list[str]:
            page = seller.get("/v0/plans/available", {"customerId": customer_id}).json()
            return [each["id"] for each in page["data"]]

        assert available() == [plan["id"], free["id"]]
        started = {"name": "A", "planId": plan["id"], "customerId": customer_id, "startedAt": "2026-11-15T12:00:00Z"}
        subscription = callers.made(seller.post("/v0/subscriptions", started))
        assert available() == [free["id"]]
        seller.post(f"/v0/subscriptions/{subscription['id']}/termination", {"reason": "Moved"})
        assert available() == [plan["id"], free["id"]]

    def test_searches_names_in_any_case(self, seller, price_id):
        customer_id = self.customer_id(seller)
        callers.plan(seller, [price_id], name="Enterprise")

        def found(search: str) -> int:
            query = {"customerId": customer_id, "search": search}
            return len(seller.get("/v0/plans/available", query).json()["data"])

        assert (found("enter"), found("basic")) == (1, 0)


class TestArchive:
    """Nobody can subscribe to it any more; whoever is subscribed keeps it."""

    @pytest.fixture
    def sold(self, seller, product_id):
        fee = callers.fee(seller, product_id)["id"]
        price = callers.price(seller, fee_id=fee, paymentTerm="in_arrears", billingCadence="P1M")["id"]
        return callers.plan(seller, [price])["id"], price

    def bought(self, seller, plan):
        customer = ids.text("cus", factories.customer(merchant=seller.merchant).id)
        new = {"name": "A", "planId": plan, "customerId": customer, "startedAt": "2026-11-15T12:00:00Z"}
        return callers.made(seller.post("/v0/subscriptions", new))

    def test_takes_it_off_offer(self, seller, sold):
        plan, _ = sold
        bought = self.bought(seller, plan)
        assert seller.get(f"/v0/plans/{plan}").json()["deletedAt"] is None
        assert seller.delete(f"/v0/plans/{plan}").status_code == 204
        assert seller.get("/v0/plans").json()["data"] == []
        other = ids.text("cus", factories.customer(merchant=seller.merchant, email="b@example.com").id)
        assert seller.get(f"/v0/plans/available?customerId={other}").json()["data"] == []
        assert seller.get(f"/v0/plans/{plan}").json()["deletedAt"] is not None
        assert seller.get(f"/v0/subscriptions/{bought['id']}").json()["planId"] == plan
        new = {"name": "A", "planId": plan, "customerId": other, "startedAt": bought["startedAt"]}
        for method, path, body in (
            ("post", "/v0/subscriptions", new),
            ("post", "/v0/customers/authorization", {"email": "a@example.com", "planId": plan}),
            ("delete", f"/v0/plans/{plan}", None),
        ):
            refused = getattr(seller, method)(path, *[body] if body else [])
            assert (path, refused.status_code) == (path, 404)
            assert body is None or "archived: put it back on offer" in refused.json()["message"]
        assert AuditEntry.objects.filter(action="plan.archived").count() == 1

    def test_is_found_among_those_archived(self, seller, sold, product_id):
        plan, price = sold
        seller.delete(f"/v0/plans/{plan}")
        other = callers.plan(seller, [price])["id"]
        for query, found in (("", other), ("?status=active", other), ("?status=archived", plan)):
            assert [each["id"] for each in seller.get(f"/v0/plans{query}").json()["data"]] == [found]
        assert seller.get("/v0/plans?status=deleted").status_code == 400

    def test_has_its_subscribers_reached_by_edits(self, seller, sold):
        plan, price = sold
        self.bought(seller, plan)
        seller.delete(f"/v0/plans/{plan}")
        change = {"properties": {"unitPrice": "9"}, "appliesTo": "next_period"}
        (reach,) = seller.post(f"/v0/prices/{price}/preview", change).json()["plans"]
        assert (reach["planId"], reach["subscribers"]) == (plan, 1)
        assert seller.patch(f"/v0/prices/{price}", change).status_code == 200
        (rollout,) = seller.get(f"/v0/rollouts?planId={plan}").json()["data"]
        assert (rollout["planVersion"], rollout["status"]) == (2, "in_progress")
        assert rollouts.carry_on(now=datetime.now(UTC)) == 1
        change = {"defaultTaxRate": 8.1, "appliesTo": "next_period"}
        shown = seller.patch(f"/v0/plans/{plan}", change).json()
        assert (shown["version"], shown["deletedAt"] is None) == (3, False)

    def test_is_put_back_on_offer_at_the_prices_of_then(self, seller, sold):
        plan, price = sold
        seller.delete(f"/v0/plans/{plan}")
        seller.patch(f"/v0/prices/{price}", {"properties": {"unitPrice": "9"}})
        for _ in range(2):
            back = seller.post(f"/v0/plans/{plan}/unarchive")
            assert (back.status_code, back.json()["deletedAt"]) == (200, None)
        assert back.json()["prices"][0]["properties"] == {"unitPrice": "9"}
        assert [each["id"] for each in seller.get("/v0/plans").json()["data"]] == [plan]
        self.bought(seller, plan)
        assert AuditEntry.objects.filter(action="plan.unarchived").count() == 1

    def test_lets_its_prices_go_and_is_put_back_with_others_only(self, seller, sold, product_id):
        plan, price = sold
        assert seller.delete(f"/v0/prices/{price}").status_code == 409
        seller.delete(f"/v0/plans/{plan}")
        assert seller.delete(f"/v0/prices/{price}").status_code == 204
        refused = seller.post(f"/v0/plans/{plan}/unarchive")
        assert (refused.status_code, refused.json()["details"]) == (409, {"prices": [price]})
        fee = callers.fee(seller, product_id)["id"]
        other = callers.price(seller, fee_id=fee, paymentTerm="in_arrears", billingCadence="P1M")["id"]
        seller.patch(f"/v0/plans/{plan}", {"prices": [other]})
        assert seller.post(f"/v0/plans/{plan}/unarchive").json()["prices"][0]["id"] == other

    def test_is_not_another_plan_to_change_to(self, seller, sold, product_id):
        plan, price = sold
        bought = self.bought(seller, callers.plan(seller, [price])["id"])
        seller.delete(f"/v0/plans/{plan}")
        change = {"planId": plan, "effective": "period_end"}
        assert seller.post(f"/v0/subscriptions/{bought['id']}/planChanges", change).status_code == 404
