"""How reservations are found and listed. Only the charging engine changes them."""

import uuid
from datetime import datetime

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Now

from billing import subscription_reads
from billing.models import Subscription, Wallet
from customers import books, registry
from customers.models import Book
from customers.registry import Blocker
from entitlements.models import Reservation
from merchants import ids, products
from merchants.errors import NotFound

State = Reservation.State

# What holds at the time the statement runs, by the customer's own clock: a reservation that is due has expired,
# whether or not anyone has written that down yet.
_IS_DUE = Q(state=State.OPEN, expires_at__lte=F("clock"))


def find(*, merchant_id: uuid.UUID, reservation_id: uuid.UUID) -> Reservation:
    """Return a merchant's reservation with its ``clock``; raises NotFound, also for another merchant's."""
    rows = _of_merchant(merchant_id).filter(bucket=ids.bucket_of(reservation_id), id=reservation_id)
    reservation = rows.first()
    if reservation is None:
        raise NotFound()
    return reservation


def search(
    *,
    merchant_id: uuid.UUID,
    customer_id: uuid.UUID | None = None,
    subscription_id: uuid.UUID | None = None,
    state: str | None = None,
) -> QuerySet[Reservation]:
    """Return a merchant's reservations with their ``clock``, newest first.

    Raises:
        NotFound: the merchant has no such customer or subscription.
    """
    rows = _of_merchant(merchant_id)
    if customer_id is not None:
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        rows = rows.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    if subscription_id is not None:
        subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
        rows = rows.filter(bucket=ids.bucket_of(subscription_id), subscription_id=subscription_id)
    if state == State.EXPIRED:
        rows = rows.filter(Q(state=State.EXPIRED) | _IS_DUE)
    elif state is not None:
        rows = rows.filter(~_IS_DUE, state=state)
    return rows.order_by("-created_at", "-id")


def active(
    *,
    merchant_id: uuid.UUID,
    customer_id: uuid.UUID,
    product_id: uuid.UUID | None = None,
    subscription_id: uuid.UUID | None = None,
) -> QuerySet[Reservation]:
    """Return a customer's open reservations with their ``plan_id`` and ``product_id``, newest first.

    Raises:
        NotFound: the merchant has no such customer, product or subscription.
    """
    rows = search(merchant_id=merchant_id, customer_id=customer_id, subscription_id=subscription_id, state=State.OPEN)
    subscription = Subscription.objects.filter(bucket=OuterRef("bucket"), id=OuterRef("subscription_id"))
    rows = rows.annotate(
        plan_id=Subquery(subscription.values("plan_id")), product_id=Subquery(subscription.values("product_id"))
    )
    if product_id is None:
        return rows
    return rows.filter(product_id=products.get(merchant_id=merchant_id, product_id=product_id).id)


def as_it_stands(reservation: Reservation) -> Reservation:
    """Return a reservation from ``find`` or ``search`` as its next reader of the book will leave it, unsaved."""
    if reservation.state == State.OPEN and reservation.expires_at <= reservation.clock:  # type: ignore[attr-defined]
        reservation.state, reservation.closed_at = State.EXPIRED, reservation.expires_at
        reservation.released, reservation.held = reservation.released + reservation.held, 0
    return reservation


def open_reservations(bucket: int, customer_id: uuid.UUID) -> Blocker | None:
    """Name a customer's reservations that hold something."""
    rows = Reservation.objects.filter(bucket=bucket, customer_id=customer_id, state=State.OPEN)
    rows = _with_clock(rows).exclude(_IS_DUE)
    count = rows.count()
    if not count:
        return None
    first = rows.order_by("id").values_list("id", flat=True)[: registry.BLOCKER_ITEMS_MAX]
    items = [{"id": ids.text("com", row_id), "status": State.OPEN.value} for row_id in first]
    return {"type": "entitlements", "count": count, "items": items}


def held_since(wallet: Wallet, at: datetime) -> int:
    """Return what open reservations that were granted by an instant hold of a wallet, in nanos."""
    rows = Reservation.objects.filter(
        bucket=wallet.bucket, customer_id=wallet.customer_id, state=State.OPEN, wallet_id=wallet.id, created_at__lte=at
    )
    return int(rows.aggregate(held=Sum("held"))["held"] or 0)


def _of_merchant(merchant_id: uuid.UUID) -> QuerySet[Reservation]:
    return _with_clock(Reservation.objects.filter(merchant_id=merchant_id))


def _with_clock(rows: QuerySet[Reservation]) -> QuerySet[Reservation]:
    book = Book.objects.filter(bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"))
    return rows.annotate(clock=Coalesce(Subquery(book.values("test_clock")), Now()))
