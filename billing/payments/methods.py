"""Saved ways to pay: a customer's cards, as the provider that keeps them describes them."""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing.models import PaymentAttempt, PaymentMethod, ProviderCode
from billing.payments import accounts
from billing.payments.provider import Card
from customers import books
from merchants import ids
from merchants.errors import NotFound


def default(bucket: int, customer_id: uuid.UUID) -> PaymentMethod | None:
    """Return what a customer is charged by when they are away, if they have saved anything that can be charged now.

    A card that another account of the provider keeps than the one that is connected cannot.
    """
    found = list(PaymentMethod.objects.filter(bucket=bucket, customer_id=customer_id, is_default=True))
    if not found:
        return None
    here = accounts.connected(found[0].merchant_id, ProviderCode.STRIPE)
    usable = [each for each in found if each.account_id in (None, here)]
    return next((each for each in usable if each.account_id is not None), usable[0] if usable else None)


def usable(*, merchant_id: uuid.UUID, bucket: int, customer_id: uuid.UUID) -> QuerySet[PaymentMethod]:
    """Return what a customer has saved and can be charged by now."""
    mine = PaymentMethod.objects.filter(bucket=bucket, customer_id=customer_id, deleted_at=None)
    return mine.filter(accounts.usable(merchant_id))


def search(*, merchant_id: uuid.UUID, customer_id: uuid.UUID) -> QuerySet[PaymentMethod]:
    """Return what a customer has saved, the default first, then the newest.

    Raises:
        NotFound: the merchant has no such customer.
    """
    books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
    mine = usable(merchant_id=merchant_id, bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    return mine.order_by("-is_default", "-created_at", "-id")


def find(*, merchant_id: uuid.UUID, customer_id: uuid.UUID, method_id: uuid.UUID) -> PaymentMethod:
    """Return what a customer has saved; raises NotFound."""
    method = search(merchant_id=merchant_id, customer_id=customer_id).filter(id=method_id).first()
    if method is None:
        raise NotFound()
    return method


def remember(attempt: PaymentAttempt, card: Card, now: datetime) -> PaymentMethod:
    """Keep the card that an attempt saved; the customer's first is their default. The book is locked."""
    method, _ = PaymentMethod.objects.update_or_create(
        bucket=attempt.bucket,
        customer_id=attempt.customer_id,
        provider=attempt.provider,
        provider_ref=card.ref,
        defaults={
            "account_id": attempt.account_id,
            "kind": card.kind,
            "brand": card.brand,
            "last4": card.last4,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "deleted_at": None,
        },
        create_defaults={
            "account_id": attempt.account_id,
            "id": ids.new(attempt.bucket),
            "merchant_id": attempt.merchant_id,
            "kind": card.kind,
            "brand": card.brand,
            "last4": card.last4,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "created_at": now,
        },
    )
    if default(attempt.bucket, attempt.customer_id) is None:
        _make_default(method)
    return method


def make_default(*, merchant_id: uuid.UUID, customer_id: uuid.UUID, method_id: uuid.UUID) -> PaymentMethod:
    """Have a customer charged by another of their saved cards; raises NotFound."""
    with transaction.atomic():
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        books.lock(ids.bucket_of(customer_id), customer_id)
        method = find(merchant_id=merchant_id, customer_id=customer_id, method_id=method_id)
        _make_default(method)
    return method


def set_default(
    *, merchant_id: uuid.UUID, customer_id: uuid.UUID, method_id: uuid.UUID, is_default: bool
) -> PaymentMethod:
    """Have a customer charged by a saved card, or by none while they are away; raises NotFound."""
    if is_default:
        return make_default(merchant_id=merchant_id, customer_id=customer_id, method_id=method_id)
    with transaction.atomic():
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        books.lock(ids.bucket_of(customer_id), customer_id)
        method = find(merchant_id=merchant_id, customer_id=customer_id, method_id=method_id)
        method.is_default = False
        method.save(update_fields=["is_default"])
    return method


def _make_default(method: PaymentMethod) -> None:
    mine = PaymentMethod.objects.filter(bucket=method.bucket, customer_id=method.customer_id)
    others = mine.filter(accounts.usable(method.merchant_id), is_default=True).exclude(id=method.id)
    others.update(is_default=False)
    method.is_default = True
    method.save(update_fields=["is_default"])


def delete(*, merchant_id: uuid.UUID, customer_id: uuid.UUID, method_id: uuid.UUID) -> PaymentMethod:
    """Forget a saved card; the newest that is left becomes the default where this was it. Raises NotFound.

    Payments that are on their way with it go on; ``setups.forget`` tells the provider.
    """
    with transaction.atomic():
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        _, now = books.lock(ids.bucket_of(customer_id), customer_id)
        method = find(merchant_id=merchant_id, customer_id=customer_id, method_id=method_id)
        was_default, method.is_default, method.deleted_at = method.is_default, False, now
        method.save(update_fields=["is_default", "deleted_at"])
        successor = search(merchant_id=merchant_id, customer_id=customer_id).first() if was_default else None
        if successor is not None:
            _make_default(successor)
    return method
