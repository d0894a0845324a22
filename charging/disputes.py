"""Disputes of usage events: raised by customers, once for each event, and decided by the merchant.

To accept one is to refund the event. The refund is made before the dispute says so, under the event's own once-only
rule: who dies in between finds it refunded the second time, and then only notes it.
"""

import uuid
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import QuerySet, Sum

from billing import disputed, money
from billing.disputed import Disputed
from billing.models import Charge, Refund, Subscription, UsageDispute
from charging import refunds
from customers import books
from customers.models import Customer
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, Unprocessable
from metering.models import Correction, UsageEvent

MESSAGE_LENGTH_MIN, MESSAGE_LENGTH_MAX = 10, 1_000
Status = UsageDispute.Status


def raise_one(*, merchant_id: uuid.UUID, event_id: uuid.UUID, message: str) -> UsageDispute:
    """Dispute what a usage event was charged.

    Raises:
        NotFound: the merchant has no such event.
        Unprocessable: nothing was charged for it, or it was returned.
        Conflict: it was disputed before.
    """
    bucket = ids.bucket_of(event_id)
    event = UsageEvent.objects.filter(bucket=bucket, id=event_id, merchant_id=merchant_id).first()
    if event is None:
        raise NotFound()
    try:
        with transaction.atomic():
            _, now = books.lock(bucket, event.customer_id)
            made = _write(event, message, now)
    except IntegrityError as error:
        if "usage_event_disputed_once" not in str(error):
            raise
        raise _again() from error
    return made


def _write(event: UsageEvent, message: str, now: datetime) -> UsageDispute:
    of_event = {"bucket": event.bucket, "usage_event_id": event.id}
    if UsageDispute.objects.filter(**of_event).exists():
        raise _again()
    corrections = Correction.objects.filter(**of_event)
    sources = [event.id, *corrections.values_list("id", flat=True)]
    charged = Charge.objects.filter(bucket=event.bucket, source_id__in=sources).aggregate(gross=Sum("gross"))["gross"]
    if not charged or charged <= 0 or Refund.objects.filter(**of_event).exists():
        raise Unprocessable("Nothing is charged for this usage event.", code="NOT_CHARGED")
    currencies = Subscription.objects.filter(bucket=event.bucket, id=event.subscription_id or event.id)
    made = UsageDispute.objects.create(
        **of_event,
        id=ids.new(event.bucket),
        customer_id=event.customer_id,
        merchant_id=event.merchant_id,
        amount=int(charged),
        currency=currencies.values_list("currency", flat=True).get(),
        status=Status.PENDING,
        customer_message=message,
        created_at=now,
        updated_at=now,
    )
    disputed.created(_told(made), now)
    return made


def _again() -> Conflict:
    return Conflict("This usage event was disputed before.", code="ALREADY_DISPUTED")


# --- deciding --------------------------------------------------------------------------------------------


def accept(*, merchant_id: uuid.UUID, dispute_id: uuid.UUID, message: str, actor: Actor) -> UsageDispute:
    """Return what the event was charged, and say so.

    Raises:
        NotFound: the merchant has no such dispute.
        Conflict: it was declined before.
        Unprocessable: the event cannot be refunded: it was corrected since, say.
    """
    seen = find(merchant_id=merchant_id, dispute_id=dispute_id)
    if seen.status == Status.PENDING:
        try:
            refunds.refund(merchant_id=merchant_id, event_id=seen.usage_event_id, reason="Disputed by the customer")
        except Unprocessable as refusal:
            if refusal.code != "ALREADY_REFUNDED":
                raise
    return _decide(seen, Status.ACCEPTED, message, actor)


def decline(*, merchant_id: uuid.UUID, dispute_id: uuid.UUID, message: str, actor: Actor) -> UsageDispute:
    """Leave the charge as it is; raises NotFound, or Conflict where it was accepted before."""
    return _decide(find(merchant_id=merchant_id, dispute_id=dispute_id), Status.DECLINED, message, actor)


def _decide(seen: UsageDispute, status: Status, message: str, actor: Actor) -> UsageDispute:
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        dispute = UsageDispute.objects.get(bucket=seen.bucket, id=seen.id)
        if dispute.status == status:
            return dispute
        if dispute.status != Status.PENDING:
            raise Conflict(f"This dispute was {dispute.status} before.", code="DISPUTE_RESOLVED")
        dispute.status, dispute.merchant_message = status, message
        dispute.resolved_at = dispute.updated_at = now
        dispute.save(update_fields=["status", "merchant_message", "resolved_at", "updated_at"])
        disputed.resolved(_told(dispute), now)
        audit.append(
            merchant_id=dispute.merchant_id,
            actor=actor,
            action=f"dispute.{status.value}",
            target=ids.text("disp", dispute.id),
            changes={"event": ids.text("usg", dispute.usage_event_id), "amount": money.from_nanos(dispute.amount)},
            now=now,
        )
    return dispute


def _told(dispute: UsageDispute) -> Disputed:
    return Disputed(
        id=dispute.id,
        bucket=dispute.bucket,
        merchant_id=dispute.merchant_id,
        customer_id=dispute.customer_id,
        usage_event_id=dispute.usage_event_id,
        amount=dispute.amount,
        currency=dispute.currency,
        status=dispute.status,
        reason=dispute.customer_message,
        created_at=dispute.created_at,
        resolved_at=dispute.resolved_at,
    )


# --- reading ---------------------------------------------------------------------------------------------


def find(*, merchant_id: uuid.UUID, dispute_id: uuid.UUID) -> UsageDispute:
    """Return a dispute of one of a merchant's customers; raises NotFound."""
    found = UsageDispute.objects.filter(bucket=ids.bucket_of(dispute_id), id=dispute_id, merchant_id=merchant_id)
    dispute = found.first()
    if dispute is None:
        raise NotFound()
    return dispute


def search(
    *,
    merchant_id: uuid.UUID,
    customer_id: uuid.UUID | None = None,
    consumer_id: uuid.UUID | None = None,
    status: str | None = None,
) -> QuerySet[UsageDispute]:
    """Return the disputes of a merchant's customers, newest first; raises NotFound for a customer that is another's."""
    query = UsageDispute.objects.filter(merchant_id=merchant_id)
    if consumer_id is not None:
        own = Customer.objects.filter(merchant_id=merchant_id, consumer_id=consumer_id).values_list("id", flat=True)
        customer_id = own.first()
        if customer_id is None:
            raise NotFound("consumerId names nothing that exists here.", details={"field": "consumerId"})
    if customer_id is not None:
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        query = query.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    if status is not None:
        query = query.filter(status=status)
    return query.order_by("-created_at", "-id")
