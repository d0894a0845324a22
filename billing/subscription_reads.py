"""How subscriptions are found and listed."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from billing import taxes, trials
from billing.models import Subscription
from customers import books
from customers.models import Book, Customer
from merchants import ids
from merchants.errors import NotFound
from merchants.models import Membership, Organization, Role


class Seller(NamedTuple):
    """Who a customer subscribed to."""

    name: str
    email: str


def find(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> Subscription:
    """Return a merchant's subscription, as ``search`` does; raises NotFound, also for another merchant's."""
    query = _of_merchant(merchant_id).filter(bucket=ids.bucket_of(subscription_id), id=subscription_id)
    subscription = query.first()
    if subscription is None:
        raise NotFound()
    return subscription


def search(
    *,
    merchant_id: uuid.UUID,
    customer_id: uuid.UUID | None = None,
    consumer_id: uuid.UUID | None = None,
    status: str | None = None,
    started_before: datetime | None = None,
) -> QuerySet[Subscription]:
    """Return a merchant's subscriptions with plan version and ``customer_rates``, newest first.

    Raises:
        NotFound: the merchant has no such customer or consumer.
    """
    query = _of_merchant(merchant_id)
    for key in (customer_id, consumer_id):  # a consumer that a merchant manages has the customer's number
        if key is not None:
            books.check_owner(merchant_id=merchant_id, customer_id=key)
            query = query.filter(bucket=ids.bucket_of(key), customer_id=key)
    if status is not None:
        query = query.filter(status=status)
    if started_before is not None:
        query = query.filter(started_at__lte=started_before)
    return query.order_by("-created_at", "-id")


def _of_merchant(merchant_id: uuid.UUID) -> QuerySet[Subscription]:
    book = Book.objects.filter(bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"))
    rows = Subscription.objects.select_related("plan_version").filter(merchant_id=merchant_id)
    return rows.annotate(
        customer_rates=Subquery(book.values("tax_rates")), assessed_rates=Subquery(book.values("assessed_rates"))
    )


def with_customers(rows: QuerySet[Subscription]) -> QuerySet[Subscription]:
    """Add ``consumer_id``, ``customer_name`` and ``customer_email`` to subscriptions."""
    customer = Customer.objects.filter(bucket=OuterRef("bucket"), id=OuterRef("customer_id"))
    return rows.annotate(
        consumer_id=Subquery(customer.values("consumer_id")),
        customer_name=Subquery(customer.values("name")),
        customer_email=Subquery(customer.values("email")),
    )


def seller(*, merchant_id: uuid.UUID) -> Seller:
    """Return the name of a merchant's organization and the e-mail address of its first owner."""
    organization = Organization.objects.get(merchants=merchant_id)
    owners = organization.memberships.filter(role=Role.OWNER, state=Membership.State.ACTIVE).order_by(
        "created_at", "id"
    )
    return Seller(organization.name, owners.values_list("user__email", flat=True).first() or "")


def estimated_tax_rate(subscription: Subscription) -> Decimal:
    """Return the percentage that a subscription from ``find`` or ``search`` is likely taxed at, metrics aside."""
    return taxes.rate(
        customer_rates=taxes.known(subscription.assessed_rates, subscription.customer_rates),  # type: ignore[attr-defined]
        plan_id=subscription.plan_id,
        plan_rate=subscription.plan_version.default_tax_rate,
        is_exempt=subscription.tax_exempt,
    )


def overdue(now: datetime, limit: int) -> list[Subscription]:
    """Find subscriptions whose time is over, the longest first; not those whose customer's own clock is behind."""
    found: list[Subscription] = []
    for statuses, end, more in (
        (Subscription.RUNNING, "ending_at", {}),
        (Subscription.RUNNING, "trial_ends_at", trials.UNDECIDED),
        ((Subscription.Status.PENDING_PAYMENT,), "payment_expires_at", {}),
    ):
        behind = Book.objects.filter(
            bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), test_clock__lt=OuterRef(end)
        )
        due = Subscription.objects.filter(~Exists(behind), status__in=statuses, **more, **{f"{end}__lte": now})
        found += due.order_by(end)[: limit - len(found)]
    return found
