"""Wallets: a customer's pots of one currency, and what is in them."""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing import money
from billing.models import TopUp, Wallet
from customers import books
from customers.models import Book
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import NotFound, Unprocessable


def ensure_pots(*, bucket: int, customer_id: uuid.UUID, currency: str, now: datetime) -> tuple[Wallet, Wallet]:
    """Return a customer's prepaid and credit wallets of a currency, made where they are missing.

    The caller holds the lock of the book.
    """
    pots = Wallet.objects.filter(bucket=bucket, customer_id=customer_id, currency=currency)
    found = {wallet.kind: wallet for wallet in pots}
    for kind in (Wallet.Kind.PREPAID, Wallet.Kind.CREDIT):
        if kind not in found:
            found[kind] = Wallet.objects.create(
                bucket=bucket, id=ids.new(bucket), customer_id=customer_id, kind=kind, currency=currency, created_at=now
            )
    return found[Wallet.Kind.PREPAID], found[Wallet.Kind.CREDIT]


def find(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID) -> Wallet:
    """Return a wallet of one of a merchant's customers; raises NotFound, also for another merchant's."""
    wallet = _of_merchant(merchant_id).filter(bucket=ids.bucket_of(wallet_id), id=wallet_id).first()
    if wallet is None:
        raise NotFound()
    return wallet


def search(*, merchant_id: uuid.UUID, customer_id: uuid.UUID | None = None) -> QuerySet[Wallet]:
    """Return the wallets of a merchant's customers, or of one of them, oldest first.

    Raises:
        NotFound: the merchant has no such customer.
    """
    query = _of_merchant(merchant_id)
    if customer_id is not None:
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        query = query.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    return query.order_by("created_at", "id")


def top_ups_of(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID) -> QuerySet[TopUp]:
    """Return the top-ups of a wallet, newest first.

    Raises:
        NotFound: the merchant has no such wallet.
    """
    wallet = find(merchant_id=merchant_id, wallet_id=wallet_id)
    return TopUp.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id).order_by("-created_at", "-id")


def set_credit_limit(
    *, merchant_id: uuid.UUID, wallet_id: uuid.UUID, limit: int | None, actor: Actor, now: datetime
) -> Wallet:
    """Say how many nanos a customer may owe in a wallet; None lifts the limit.

    It may be less than is owed: then nothing more is used on credit until enough of it is paid. Fees, true-ups and
    rounding are never refused by it.

    Raises:
        NotFound: no customer of the merchant's has such a wallet.
        Unprocessable: the wallet is prepaid: it can owe nothing.
    """
    seen = find(merchant_id=merchant_id, wallet_id=wallet_id)
    if seen.kind != Wallet.Kind.CREDIT:
        raise Unprocessable("A prepaid wallet owes nothing: the limit is the credit wallet's.", code="NOT_ON_CREDIT")
    with transaction.atomic():
        books.lock(seen.bucket, seen.customer_id)
        wallet = find(merchant_id=merchant_id, wallet_id=wallet_id)
        wallet.credit_limit = limit
        wallet.save(update_fields=["credit_limit"])
        audit.append(
            merchant_id=merchant_id,
            actor=actor,
            action="wallet.limited",
            target=ids.text("acc", wallet.id),
            changes={"before": _said(seen.credit_limit), "after": _said(limit)},
            now=now,
        )
    return wallet


def _said(limit: int | None) -> str | None:
    return None if limit is None else money.from_nanos(limit)


def _of_merchant(merchant_id: uuid.UUID) -> QuerySet[Wallet]:
    # A wallet belongs to a customer's book, and the book to a merchant; both are rows of one bucket.
    book = Book.objects.filter(bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), merchant_id=merchant_id)
    return Wallet.objects.filter(Exists(book))
