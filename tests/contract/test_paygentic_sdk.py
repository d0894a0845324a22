"""The official client of another system, unmodified, runs against a served Farthing: the contract is kept."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from paygentic_sdk import Paygentic, errors

from merchants import ids
from tests import callers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

UNIT_PRICE = "0.0025"
ADA: Any = {
    "name": "Ada",
    "email": "ada@northwind.example",
    "address": {"line1": "1 Main St", "city": "Springfield", "state": "IL", "country": "US", "zip_code": "62701"},
}


class Shop:
    """A merchant that sells through the client: product, metric, price, plan, a funded customer and a subscription."""

    def __init__(self, url: str) -> None:
        self.seller = callers.caller()
        self.url = url
        self.client = Paygentic(bearer_auth=self.seller.secret, server_url=url)
        self.merchant_id = self.seller.merchant_id
        self.product = self.client.products.create(
            name="Inference", description="Answers", merchant_id=self.merchant_id
        )
        self.metric = self.client.billable_metrics.create(
            name="Requests",
            description="Calls",
            unit="request",
            aggregation="SUM",
            merchant_id=self.merchant_id,
            product_id=self.product.id,
            event_type="completion",
            value_property="$.requests",
            group_by={"model": "$.model"},
        )
        self.price = self.client.prices.create(
            invoice_display_name="Requests",
            payment_term="instant",
            properties={"unit_price": UNIT_PRICE},
            billable_metric_id=self.metric.id,
            model="standard",
        )
        self.plan = self.client.plans.create(
            name="Pay as you go", currency="USD", merchant_id=self.merchant_id, prices=[self.price.id]
        )
        self.customer = self.client.customers.create(
            merchant_id=self.merchant_id,
            consumer=ADA,
        )
        self.subscription = self.client.subscriptions.create(
            name="Ada's", plan_id=self.plan.id, started_at=datetime.now(UTC), customer_id=self.customer.customer_id
        )

    def fund(self, amount: str) -> None:
        """Put money into the customer's wallet; the client of this version has no wallets any more."""
        answer = httpx.post(
            f"{self.url}/v0/wallets/{self.subscription.wallet_id}/topups",
            json={"amount": amount},
            headers={"Authorization": f"Bearer {self.seller.secret}"},
        )
        assert answer.status_code == 201, answer.text

    def use(self, quantity: int, key: str | None = None, **more: Any) -> Any:
        """Report use."""
        properties: Any = [{"billable_metric_id": self.metric.id, "quantity": quantity}]
        return self.client.usage_events.create(
            customer_id=self.customer.customer_id,
            merchant_id=self.merchant_id,
            idempotency_key=key or uuid4().hex,
            timestamp=datetime.now(UTC),
            properties=properties,
            **more,
        )


@pytest.fixture
def shop(served_url: str) -> Iterator[Shop]:
    shop = Shop(served_url)
    with shop.client:
        yield shop


class TestTheCatalogue:
    def test_is_read_back_as_it_was_made(self, shop):
        client = shop.client

        assert client.products.get(id=shop.product.id) == shop.product
        assert client.billable_metrics.get(id=shop.metric.id) == shop.metric
        assert client.prices.get(id=shop.price.id) == shop.price
        assert client.plans.get(id=shop.plan.id) == shop.plan
        assert shop.plan.prices[0].id == shop.price.id

    def test_is_listed(self, shop):
        client, merchant_id = shop.client, shop.merchant_id

        assert [each.id for each in client.products.list(request={"merchant_id": merchant_id}).data] == [
            shop.product.id
        ]
        assert [each.id for each in client.billable_metrics.list(merchant_id=merchant_id).data] == [shop.metric.id]
        assert [each.id for each in client.prices.list(request={}).data] == [shop.price.id]
        assert [each.id for each in client.plans.list(request={"product_id": shop.product.id}).data] == [shop.plan.id]

    def test_is_changed(self, shop):
        client = shop.client

        assert client.products.update(id=shop.product.id, name="Renamed").name == "Renamed"
        assert client.billable_metrics.update(id=shop.metric.id, unit="call", event_type=None).unit == "call"
        dearer = client.prices.update(id=shop.price.id, properties={"unit_price": "0.005"})
        assert dearer.properties.unit_price == "0.005"
        assert client.plans.update(id=shop.plan.id, default_tax_rate=8.5).default_tax_rate == 8.5

    def test_has_the_other_models_that_the_client_knows(self, shop):
        client, used, prices = shop.client, [], []
        linear = {"function": "linear", "gradient": "-0.001", "min": "0.5", "max": "2"}
        for model, properties, stated in (
            ("percentage", {"percentage": "0.029", "min_charge": "0.30", "max_charge": "100"}, {}),
            ("dynamic", {"min_price": "0.01", "max_price": "0.10"}, {"price": "0.1"}),
            ("volume", {"default": "1", "parameters": linear}, {}),
        ):
            own: Any = {"merchant_id": shop.merchant_id, "product_id": shop.product.id}
            metric = client.billable_metrics.create(name=model, description="", unit="USD", aggregation="SUM", **own)
            named: Any = {"invoice_display_name": model, "payment_term": "instant", "billable_metric_id": metric.id}
            price = client.prices.create(**named, model=model, properties=properties)
            assert client.prices.get(id=price.id) == price
            prices.append(price.id)
            used.append({"billable_metric_id": metric.id, "quantity": 10, **stated})
        plan = client.plans.create(name="All", currency="USD", merchant_id=shop.merchant_id, prices=prices)
        client.subscriptions.terminate(id=shop.subscription.id, reason="for another plan")
        shop.fund("100")
        client.subscriptions.create(
            name="All", plan_id=plan.id, started_at=datetime.now(UTC), customer_id=shop.customer.customer_id
        )

        event = client.usage_events.create(
            customer_id=shop.customer.customer_id,
            merchant_id=shop.merchant_id,
            idempotency_key=uuid4().hex,
            timestamp=datetime.now(UTC),
            properties=used,
        )

        assert event.billing.price == (Decimal("0.30") + 10 * Decimal("0.1") + 10 * Decimal("0.99")) * 10**9

    def test_has_fees(self, shop):
        client = shop.client
        fee = client.fees.create(
            name="Platform", description="Monthly", merchant_id=shop.merchant_id, product_id=shop.product.id
        )
        price = client.prices.create(
            invoice_display_name="Platform",
            payment_term="in_arrears",
            properties={"unit_price": "10"},
            fee_id=fee.id,
            billing_cadence="P1M",
        )
        plan = client.plans.create(name="Flat", currency="USD", merchant_id=shop.merchant_id, prices=[price.id])
        customer = client.customers.create(
            merchant_id=shop.merchant_id,
            consumer={"name": "Bob", "email": "bob@northwind.example", "address": {}},
        )
        subscription = client.subscriptions.create(
            name="Bob's", plan_id=plan.id, started_at=datetime.now(UTC), customer_id=customer.customer_id
        )

        effective = client.fees.get_price(id=fee.id, subscription_id=subscription.id)

        assert (effective.id, effective.properties.unit_price, effective.tax_rate) == (price.id, "10", 0)
        assert [each.id for each in client.fees.list(merchant_id=shop.merchant_id).data] == [fee.id]
        assert client.fees.update(id=fee.id, name="Seat").name == "Seat"
        with pytest.raises(errors.DeleteFeeConflictError) as refused:
            client.fees.delete(id=fee.id)
        details = refused.value.data.details
        assert details
        assert [blocker.count for blocker in details.blockers or []] == [1]

    def test_knows_what_a_customer_could_buy(self, shop):
        client, customer_id = shop.client, shop.customer.customer_id
        other = client.products.create(name="Other", description="", merchant_id=shop.merchant_id)
        plan = client.plans.create(name="New", currency="USD", merchant_id=shop.merchant_id, product_id=other.id)

        available = client.plans.list_available(customer_id=customer_id)

        assert [each.id for each in available.data] == [plan.id]


class TestCustomersAndSubscriptions:
    def test_are_made_once(self, shop):
        again = shop.client.customers.create(
            merchant_id=shop.merchant_id,
            consumer=ADA | {"email": "ADA@northwind.example"},
        )
        same = shop.client.subscriptions.create(
            name="Ada's", plan_id=shop.plan.id, started_at=datetime.now(UTC), customer_id=shop.customer.customer_id
        )

        assert again.customer_id == shop.customer.customer_id
        assert same.id == shop.subscription.id

    def test_are_read_changed_and_listed(self, shop):
        client, customer_id = shop.client, shop.customer.customer_id

        changed = client.customers.update(id=customer_id, external_id="crm-1", tax_rates=13)
        assert (changed.external_id, changed.tax_rates) == ("crm-1", {"default": 13})
        assert client.customers.get(id=customer_id) == changed
        found = client.customers.list(organization_id=shop.merchant_id, external_id="crm-1")
        assert [each.id for each in found.data] == [customer_id]
        listed = client.subscriptions.list(request={"customer_id": customer_id, "include": "customer"})
        assert [each.id for each in listed.data] == [shop.subscription.id]
        assert client.subscriptions.get(id=shop.subscription.id).status == "active"

    def test_open_the_portal(self, shop):
        portal = shop.client.subscriptions.generate_portal_link(id=shop.subscription.id, expires_in="PT5M")

        assert portal.url.startswith(shop.url)
        assert portal.expires_at < datetime.now(UTC) + timedelta(minutes=6)

    def test_end_once(self, shop):
        client = shop.client
        with pytest.raises(errors.DeleteCustomerConflictError):
            client.customers.delete(id=shop.customer.customer_id)

        ended = client.subscriptions.terminate(id=shop.subscription.id, reason="moved")

        assert (ended.status, ended.termination_reason) == ("terminated", "moved")
        with pytest.raises(errors.Error) as refused:
            client.subscriptions.terminate(id=shop.subscription.id, reason="again")
        assert refused.value.raw_response.status_code == 409


class TestUsage:
    def test_is_charged_at_once_and_once(self, shop):
        shop.fund("10")

        first = shop.use(1_000, "job-1", metadata={"model": "large"})
        with pytest.raises(errors.PaygenticDefaultError) as conflict:
            shop.use(2_000, "job-1")

        assert first.billing.total_amount == 2_500_000_000
        assert (first.properties[0].quantity, first.metadata) == (1_000, {"model": "large"})
        assert conflict.value.raw_response.status_code == 409

    def test_is_refused_without_funds(self, shop):
        with pytest.raises(errors.PaygenticDefaultError) as refused:
            shop.use(1)

        assert refused.value.raw_response.status_code == 402
        assert refused.value.raw_response.json()["code"] == "INSUFFICIENT_FUNDS"

    def test_draws_on_a_reservation(self, shop):
        shop.fund("10")
        entitlement = shop.client.entitlements_v0.create(
            merchant_id=shop.merchant_id,
            customer_id=shop.customer.customer_id,
            entitlement_data=[{"billable_metric_id": shop.metric.id, "quantity": 1_000}],
            max_uses=2,
        )
        active = shop.client.entitlements_v0.list_active(customer_id=shop.customer.customer_id)

        event = shop.use(400, entitlement_id=entitlement.id)

        assert int(entitlement.remaining_balance) >= 2_500_000_000
        assert (entitlement.max_uses, entitlement.region) == (2, "global")
        assert [each.id for each in active.data] == [entitlement.id]
        assert event.entitlement_id == entitlement.id

    def test_comes_in_batches(self, shop):
        shop.fund("1")
        now = datetime.now(UTC)

        def event(key: str, quantity: int) -> dict[str, Any]:
            return {
                "customer_id": shop.customer.customer_id,
                "merchant_id": shop.merchant_id,
                "idempotency_key": key,
                "timestamp": now,
                "properties": [{"billable_metric_id": shop.metric.id, "quantity": quantity}],
            }

        answer = shop.client.usage_events.batch_create(events=[event("a", 100), event("b", 1_000_000), event("a", 100)])

        assert [each.idempotency_key for each in answer.successful] == ["a", "a"]
        assert len({each.id for each in answer.successful}) == 1
        assert [(each.index, each.idempotency_key) for each in answer.failed] == [(1, "b")]
        assert (answer.summary.total, answer.summary.successful, answer.summary.failed) == (3, 2, 1)

    def test_is_listed_read_and_refunded(self, shop):
        shop.fund("10")
        event = shop.use(1_000)
        now = datetime.now(UTC)

        listed = shop.client.usage_events.list(
            start_time=now - timedelta(hours=1),
            end_time=now + timedelta(hours=1),
            customer_id=shop.customer.customer_id,
        )
        refunded = shop.client.usage_events.refund(id=event.id, reason="wrong answer")

        assert [each.id for each in listed.data] == [event.id]
        assert shop.client.usage_events.get(id=event.id).billing == event.billing
        assert refunded.refund.reason == "wrong answer"
        with pytest.raises(errors.Error) as again:
            shop.client.usage_events.refund(id=event.id)
        assert again.value.raw_response.status_code == 422


class TestMeterEvents:
    def test_are_ingested_once_and_charged(self, shop):
        shop.fund("10")
        said: Any = {
            "type_": "completion",
            "source": "api",
            "subject": shop.customer.customer_id,
            "data": {"requests": 1_000, "model": "large"},
            "idempotency_key": "job-1",
        }

        first = shop.client.events.ingest(**said, namespace=shop.merchant_id, timestamp=datetime.now(UTC))
        other = shop.client.events.ingest(**said | {"idempotency_key": None})
        with pytest.raises(errors.Error) as refused:
            shop.client.events.ingest(**said | {"type_": "unknown", "idempotency_key": None})

        assert (first.type, first.subject, first.idempotency_key) == ("completion", shop.customer.customer_id, "job-1")
        assert other.id != first.id
        assert refused.value.raw_response.status_code == 422
        charged = shop.client.usage_events.get(id=first.id)
        assert (charged.billing.total_amount, charged.properties[0].quantity) == (2_500_000_000, 1_000)

    def test_are_metered(self, shop):
        shop.fund("10")
        shop.use(5)
        for model in ("large", "small"):
            data = {"requests": 100, "model": model}
            shop.client.events.ingest(type_="completion", source="api", subject=shop.customer.customer_id, data=data)
        now = datetime.now(UTC)
        span: Any = {"id": shop.metric.id, "from_": now - timedelta(hours=1), "to": now + timedelta(hours=1)}

        meter = shop.client.billable_metrics.meter(
            **span, subject=shop.customer.customer_id, window_size="HOUR", group_by="model"
        )
        large = shop.client.billable_metrics.meter(**span, filter_group_by='{"model": "large"}')
        listed = shop.client.billable_metrics.list_events(**span)

        assert (meter.total_value, large.total_value) == (205, 100)
        assert sum(window.value for window in meter.windowed_values) == 205
        assert {group.group_by["model"]: group.value for group in meter.grouped_values} == {
            "": 5,
            "large": 100,
            "small": 100,
        }
        assert [each.type for each in listed.events] == ["completion", "completion", "usage"]
        assert listed.pagination.total == 3


class TestInvoices:
    def test_show_the_running_period(self, shop):
        shop.fund("10")
        event = shop.use(1_000)
        client = shop.client

        wanted = {"subscription_id": shop.subscription.id, "status": "ACTIVE"}
        (invoice,) = client.invoices_v2.list(request=wanted).data
        full = client.invoices_v2.get(id=invoice.id, expand="lineItems")

        assert (invoice.id, invoice.status) == (event.billing.invoice_id, "ACTIVE")
        assert Decimal(invoice.grand_total) == Decimal("2.5")
        (line,) = full.line_items.line_items
        assert (line.event_source_id, line.quantity) == (shop.metric.id, 1_000)
        assert client.invoices_v2.get_line_items(id=invoice.id).total_count == 1


class TestTestClocks:
    def test_have_a_month_pass(self, shop):
        client = shop.client
        clock = client.test_clocks.create(name="A month")
        customer = client.customers.create(
            merchant_id=shop.merchant_id,
            consumer={"name": "Carl", "email": f"{uuid4().hex}@example.com", "address": {"country": "US"}},
        )
        subscription = client.subscriptions.create(
            name="By clock",
            plan_id=shop.plan.id,
            started_at=datetime.now(UTC),
            customer_id=customer.customer_id,
            test_clock_id=clock.id,
        )

        moved = client.test_clocks.advance(id=clock.id, request_body={"advance_by": "P1M2D"})

        assert moved.current_time > clock.current_time
        assert client.test_clocks.get(id=clock.id) == moved
        statuses = [each.status for each in client.invoices_v2.list(request={"subscription_id": subscription.id}).data]
        assert "PAID" in statuses
        with pytest.raises(errors.PaygenticError) as refused:
            client.test_clocks.delete(id=clock.id)
        assert refused.value.status_code == 409
        client.subscriptions.terminate(id=subscription.id, reason="Done")
        client.test_clocks.delete(id=clock.id)


class TestRefusals:
    def test_are_understood(self, shop):
        client = shop.client
        with pytest.raises(errors.BadRequest) as invalid:
            client.products.create(name="", description="", merchant_id=shop.merchant_id)
        with pytest.raises(errors.Error) as missing:
            client.products.get(id="prod_" + "0" * ids.TEXT_LENGTH)
        with pytest.raises(errors.Error) as unknown:
            Paygentic(bearer_auth="fth_sk_test_no", server_url=shop.url).products.list(request={})

        data: Any = invalid.value.data
        assert [error.field for error in data.errors] == ["name"]
        assert missing.value.data.code == "NOT_FOUND"
        assert unknown.value.data.code == "INVALID_API_KEY"


class TestEntitlements:
    def test_are_sold_with_a_plan_granted_used_up_and_read(self, shop):
        client, customer_id = shop.client, shop.customer.customer_id
        other = client.products.create(name="Images", description="", merchant_id=shop.merchant_id)
        metric = client.billable_metrics.create(
            name="Images",
            description="",
            unit="image",
            aggregation="SUM",
            merchant_id=shop.merchant_id,
            product_id=other.id,
        )
        feature = client.features.create(
            key="images", name="Images", merchant_id=shop.merchant_id, product_id=other.id, type_="metered"
        )
        template: Any = {"usagePeriod": {"interval": "P1M"}, "issueAfterReset": 100, "isSoftLimit": False}
        price = client.prices.create(
            invoice_display_name="Images",
            payment_term="instant",
            properties={"unit_price": "0"},
            billable_metric_id=metric.id,
            model="standard",
            feature={"feature_id": feature.id, "entitlement_template": template},
        )
        assert price.features[0].feature_id == feature.id
        plan = client.plans.create(name="Images", currency="USD", merchant_id=shop.merchant_id, prices=[price.id])
        client.subscriptions.create(name="I", plan_id=plan.id, started_at=datetime.now(UTC), customer_id=customer_id)

        def access() -> Any:
            wanted = {"customer_id": customer_id, "feature_key": "images", "product_id": other.id}
            [found] = client.entitlements.list(**wanted, at=datetime.now(UTC) + timedelta(seconds=1)).data
            return found

        def use(quantity: int) -> Any:
            return client.usage_events.create(
                customer_id=customer_id,
                merchant_id=shop.merchant_id,
                idempotency_key=uuid4().hex,
                timestamp=datetime.now(UTC),
                properties=[{"billable_metric_id": metric.id, "quantity": quantity}],
            )

        assert use(60).billing.total_amount == 0
        assert (access().has_access, access().balance, access().usage_in_period) == (True, 40, 60)
        with pytest.raises(errors.PaygenticDefaultError) as refused:
            use(41)
        assert refused.value.raw_response.json()["code"] == "ENTITLEMENT_EXHAUSTED"
        use(40)
        assert not access().has_access
        grants, entitlement_id = client.entitlements.grants, access().entitlement_id
        grant = grants.create(entitlement_id=entitlement_id, amount=50, idempotency_key="a")
        assert grants.create(entitlement_id=entitlement_id, amount=50, idempotency_key="a") == grant
        assert grants.get(entitlement_id=entitlement_id, grant_id=grant.id) == grant
        assert [each.recurrence_period for each in grants.list(entitlement_id=entitlement_id).data] == ["P1M", None]
        assert client.entitlements.get(entitlement_id=entitlement_id).balance == 50
        assert grants.void(entitlement_id=entitlement_id, grant_id=grant.id).voided_at
        assert not access().has_access
        bought = grants.purchase(entitlement_id=entitlement_id, amount=50, price="5.00", idempotency_key="b")
        assert (bought.price, bought.currency, bought.payment_sessions[0].amount) == ("5.00", "USD", 500)

    def test_are_issued_to_one_customer(self, shop):
        client = shop.client
        feature = client.features.create(
            key="seats", name="Seats", merchant_id=shop.merchant_id, product_id=shop.product.id, type_="static"
        )
        issued = client.entitlements.issue(
            customer_id=shop.customer.customer_id,
            feature_id=feature.id,
            template={"type": "static", "config": {"seats": 5}},
            subscription_id=shop.subscription.id,
        )
        assert (issued.status, issued.config) == ("active", {"seats": 5})
        assert client.entitlements.get(entitlement_id=issued.id).config == {"seats": 5}

    def test_are_to_features_that_can_be_changed(self, shop):
        client = shop.client
        feature = client.features.create(
            key="sso", name="SSO", merchant_id=shop.merchant_id, product_id=shop.product.id
        )
        assert client.features.get(id=feature.id) == feature
        assert client.features.update(id=feature.id, name="Single sign-on").name == "Single sign-on"
        listed = client.features.list(product_id=shop.product.id, key="sso")
        assert [each.id for each in listed.data] == [feature.id]
        client.features.delete(id=feature.id)
        assert client.features.list(product_id=shop.product.id).data == []
