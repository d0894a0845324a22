"""Pausing a subscription: nothing can be used or reserved until it goes on. Its periods, fees and invoices go on."""

import uuid
from datetime import datetime

from django.db import transaction

from billing import receivables, subscription_reads
from billing.models import Dunning, Invoice, Subscription
from billing.policies import FinalAction
from customers import books
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import Conflict

Status = Subscription.Status


def pause(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID, actor: Actor) -> Subscription:
    """Pause an active subscription; raises NotFound, or Conflict where it is not active."""
    return _move(merchant_id, subscription_id, Status.ACTIVE, Status.PAUSED, actor)


def resume(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID, actor: Actor) -> Subscription:
    """Have a paused subscription go on; raises NotFound, or Conflict where it is not paused."""
    return _move(merchant_id, subscription_id, Status.PAUSED, Status.ACTIVE, actor)


def _move(
    merchant_id: uuid.UUID, subscription_id: uuid.UUID, before: Status, after: Status, actor: Actor
) -> Subscription:
    seen = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        subscription = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
        if subscription.status != before:
            raise Conflict(f"The subscription is {subscription.status}, not {before}.", code="INVALID_TRANSITION")
        stand(subscription, after, now)
        audit.append(
            merchant_id=merchant_id,
            actor=actor,
            action=f"subscription.{'paused' if after == Status.PAUSED else 'resumed'}",
            target=ids.text("sub", subscription.id),
            now=now,
        )
    return subscription


def stand(subscription: Subscription, status: Status, now: datetime) -> None:
    """Pause a subscription, or have it go on; the caller holds the lock of the book."""
    subscription.status, subscription.updated_at = status, now
    subscription.save(update_fields=["status", "updated_at"])


def resume_paid(invoice: Invoice, subscription: Subscription, now: datetime) -> None:
    """Have a subscription go on that was paused for want of payment, once nothing of that kind is owed any more.

    The caller holds the lock of the book, and has just applied a payment.
    """
    if subscription.status != Status.PAUSED:
        return
    mine = Invoice.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    paused_for = Dunning.objects.filter(
        bucket=subscription.bucket,
        invoice_id__in=mine.values("id"),
        state=Dunning.State.EXHAUSTED,
        final_action=FinalAction.PAUSE,
    )
    owing = mine.filter(status__in=receivables.OPEN, id__in=paused_for.values("invoice_id"))
    if paused_for.filter(invoice_id=invoice.id).exists() and not owing.exists():
        stand(subscription, Status.ACTIVE, now)
