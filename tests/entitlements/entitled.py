"""Customers of a product that sells requests, and what they are entitled to of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from billing.models import Plan, PriceVersion
from billing.subscriptions import NewSubscription, create
from charging import execution
from charging.book import Reservation
from charging.commands import Line, Property, RecordUsage, Reserve
from charging.outcomes import Done, Outcome
from customers.models import Book
from entitlements import access, features, granting, issuing
from entitlements.access import Access
from entitlements.granting import NewGrant
from entitlements.issuing import NewEntitlement
from entitlements.models import Entitlement, Feature, Grant
from entitlements.verification import CHECKS
from merchants import ids, verification
from metering.models import BillableMetric
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer
from tests.factories import NOW

MONTH = timedelta(days=31)


def template(amount: Any = 100, **members: Any) -> dict[str, Any]:
    """So many units a month, and no more."""
    return {"type": "metered", "usagePeriod": {"interval": "P1M"}, "issueAfterReset": amount, **members}


@dataclass
class World:
    """A merchant with a metered feature, and a customer who can use it at a cent a request."""

    buyer: Buyer
    metric: BillableMetric
    price: PriceVersion
    feature: Feature

    @property
    def merchant_id(self) -> Any:
        return self.buyer.merchant.id

    @property
    def book(self) -> Book:
        return Book.objects.get(customer_id=self.buyer.customer.id)

    def issue(self, said: Any = None, *, feature: Feature | None = None, **members: Any) -> Entitlement:
        new = NewEntitlement(
            feature_id=(feature or self.feature).id, template=template() if said is None else said, **members
        )
        return issuing.issue(merchant_id=self.merchant_id, customer_id=self.buyer.customer.id, new=new)

    def grant(self, entitlement: Entitlement, amount: Any = 50, key: str = "a", **members: Any) -> Grant:
        new = NewGrant(amount=Decimal(amount), key=key, fingerprint=repr((amount, members)).encode()[:16], **members)
        return granting.create(merchant_id=self.merchant_id, entitlement_id=entitlement.id, new=new)

    def use(self, quantity: Any, *, at: datetime | None = None, reservation_id: bytes | None = None) -> Outcome:
        """Report use, by the customer's clock."""
        key = ids.new_raw(self.buyer.bucket)
        command = RecordUsage(
            key,
            self.buyer.customer.id.bytes,
            self.merchant_id.bytes,
            key.hex(),
            b"0" * 16,
            at or self.book.test_clock or NOW,
            (Property(self.metric.id.bytes, Decimal(quantity)),),
            reservation_id=reservation_id,
        )
        return execution.execute([command])[0]

    def hold(self, quantity: Any) -> Reservation:
        """Reserve units for one use within a day."""
        key = ids.new_raw(self.buyer.bucket)
        lines = (Line(self.metric.id.bytes, Decimal(quantity), None),)
        command = Reserve(key, self.buyer.customer.id.bytes, self.merchant_id.bytes, None, b"0" * 16, lines, 1, 86_400)
        [outcome] = execution.execute([command])
        assert isinstance(outcome, Done), outcome
        return cast(Reservation, outcome.answer)

    def used(self, quantity: Any, **options: Any) -> int:
        """Report use that must be let through; what it cost, in cents."""
        outcome = self.use(quantity, **options)
        assert isinstance(outcome, Done), outcome
        return outcome.answer.gross // 10**7  # type: ignore[union-attr]

    def is_sound(self) -> bool:
        """Tell whether every rule of the entitlements holds."""
        return not [result for result in verification.run(CHECKS) if result.is_broken]

    def access(self, entitlement: Entitlement, at: datetime | None = None) -> Access:
        return access.find(merchant_id=self.merchant_id, entitlement_id=entitlement.id, at=at)

    def all(self, **options: Any) -> list[Access]:
        return access.search(merchant_id=self.merchant_id, customer_id=self.buyer.customer.id, **options)[0:100]


def world(*, included: dict[str, Any] | None = None, timezone: str = "UTC", **metric: Any) -> World:
    """Make one; with ``included`` the plan's price includes the feature by this template."""
    product = factories.product(merchant=factories.merchant(timezone=timezone))
    counted = factories.metric(product=product, **metric)
    feature = features.create(
        merchant_id=product.merchant_id,
        product_id=product.id,
        key="requests",
        name="Requests",
        type="metered",
        metric_id=counted.id,
        now=NOW,
    )
    terms = {} if included is None else {"feature_id": feature.id, "entitlement_template": included}
    price = factories.price(metric=counted, **terms)
    buyer = buyers.subscribe(product.merchant, factories.plan(product=product, prices=[price]), at=NOW)
    return World(buyer, counted, price, feature)


def switch(world: World, key: str = "sso", type: str = "boolean") -> Feature:
    """A feature of the same product that is not metered."""
    return features.create(
        merchant_id=world.merchant_id, product_id=world.feature.product_id, key=key, name=key, type=type, now=NOW
    )


def subscribe(world: World, plan: Plan) -> Any:
    """Subscribe the customer to another plan."""
    new = NewSubscription(name="Another", plan_id=plan.id, started_at=NOW)
    return create(merchant_id=world.merchant_id, customer=world.buyer.customer.id, new=new, now=NOW).subscription


def include(buyer: Any, metric: BillableMetric, **members: Any) -> Entitlement:
    """Give a customer of another world some units of a metric each month."""
    feature = features.create(
        merchant_id=metric.merchant_id,
        product_id=metric.product_id,
        key="included",
        name="Included use",
        type="metered",
        metric_id=metric.id,
        now=NOW,
    )
    new = NewEntitlement(feature_id=feature.id, template=template(**members))
    return issuing.issue(merchant_id=metric.merchant_id, customer_id=buyer.customer.id, new=new)
