"""Payment links: a price tag that whoever has the link may pay, and what is shown to who has.

A use is taken when a payment's attempt begins and given back when it fails or is over, by one conditional update of the
link's row: of two payers who race for the last use, one is refused. A merchant who sells orders through links asks here
whether an order is paid: the answer is read from the link's own payments, and each pays for one order.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from billing import money
from billing.models import LinkOrder, Payment, PaymentAttempt, PaymentDispute, PaymentLink, PaymentSession
from billing.payments import tokens
from customers import registry
from merchants import audit, ids, origins
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed

AMOUNT_MAX = 5_000 * money.NANOS
CONTENT_LENGTH_MAX = 10_000
USES_MAX = 1_000_000

Status = PaymentLink.Status
CHANGEABLE = {"description", "resource_content", "expires_at", "max_uses", "status", "success_url"}


@dataclass(frozen=True, kw_only=True)
class NewLink:
    """A link as it is asked for; the amount in nanos."""

    amount: int
    currency: str
    description: str
    resource_content: str = ""
    success_url: str | None = None
    orderer_id: uuid.UUID | None = None
    max_uses: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """An order, the payment that pays for it, and its link."""

    order: LinkOrder
    payment: Payment
    link: PaymentLink


# --- the merchant's side ---------------------------------------------------------------------------------


def search(*, merchant_id: uuid.UUID) -> QuerySet[PaymentLink]:
    """Return a merchant's links, newest first."""
    return PaymentLink.objects.filter(merchant_id=merchant_id, deleted_at=None).order_by("-created_at", "-id")


def get(*, merchant_id: uuid.UUID, link_id: uuid.UUID) -> PaymentLink:
    """Return a merchant's link; raises NotFound."""
    link = search(merchant_id=merchant_id).filter(id=link_id).first()
    if link is None:
        raise NotFound()
    return link


def url(link: PaymentLink) -> str:
    """Return the address that is given to payers."""
    return tokens.url(tokens.LINK, link.merchant_id, link.id)


def create(*, merchant_id: uuid.UUID, new: NewLink, actor: Actor, now: datetime) -> PaymentLink:
    """Make a link.

    Raises:
        NotFound: the merchant has no such customer.
        ValidationFailed: the amount, the currency, the expiry or the address is not allowed.
    """
    unit = money.minor_unit(money.currency(new.currency))
    if new.amount % unit or not 0 < new.amount <= AMOUNT_MAX:
        message = f"amount must be in whole minor units, and at most {money.from_nanos(AMOUNT_MAX, 0)}."
        raise ValidationFailed(message, field="amount", code="INVALID_AMOUNT")
    _check_expiry(new.expires_at, now)
    origins.check_redirects(merchant_id, {"successRedirectUrl": new.success_url})
    with transaction.atomic():
        if new.orderer_id is not None:
            registry.find(merchant_id=merchant_id, customer_id=new.orderer_id)
        link = PaymentLink.objects.create(
            merchant_id=merchant_id,
            amount=new.amount,
            currency=new.currency,
            description=new.description,
            resource_content=new.resource_content,
            success_url=new.success_url or "",
            orderer_id=new.orderer_id,
            max_uses=new.max_uses,
            expires_at=new.expires_at,
            created_at=now,
            updated_at=now,
        )
        _audit(link, "payment_link.created", actor, now)
    return link


def change(
    *, merchant_id: uuid.UUID, link_id: uuid.UUID, changes: dict[str, Any], actor: Actor, now: datetime
) -> PaymentLink:
    """Change what may change of a link; what it costs does not.

    Args:
        changes: any of CHANGEABLE; None lifts ``max_uses`` and ``expires_at``.

    Raises:
        NotFound: the merchant has no such link.
        ValidationFailed: the expiry or the address is not allowed.
        Conflict: it has more uses already than it shall have at most.
    """
    if "expires_at" in changes:
        _check_expiry(changes["expires_at"], now)
    if "success_url" in changes:
        changes = changes | {"success_url": changes["success_url"] or ""}
        origins.check_redirects(merchant_id, {"successRedirectUrl": changes["success_url"]})
    with transaction.atomic():
        link = _lock(merchant_id, link_id)
        most = changes.get("max_uses", link.max_uses)
        if most is not None and most < link.uses:
            message = f"The link has been used {link.uses} times."
            raise Conflict(message, code="PAYMENT_LINK_USED", details={"uses": link.uses})
        for name in CHANGEABLE & changes.keys():
            setattr(link, name, changes[name])
        link.updated_at = now
        link.save(update_fields=[*(CHANGEABLE & changes.keys()), "updated_at"])
        _audit(link, "payment_link.changed", actor, now, changes=sorted(CHANGEABLE & changes.keys()))
    return link


def delete(*, merchant_id: uuid.UUID, link_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """Take a link away; payments that are on their way are still taken, and those that came in are kept.

    Raises:
        NotFound: the merchant has no such link.
    """
    with transaction.atomic():
        link = _lock(merchant_id, link_id)
        link.deleted_at = link.updated_at = now
        link.save(update_fields=["deleted_at", "updated_at"])
        _audit(link, "payment_link.deleted", actor, now)


def _lock(merchant_id: uuid.UUID, link_id: uuid.UUID) -> PaymentLink:
    link = search(merchant_id=merchant_id).filter(id=link_id).select_for_update(no_key=True).first()
    if link is None:
        raise NotFound()
    return link


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise ValidationFailed("expiresAt must lie in the future.", field="expiresAt", code="EXPIRES_IN_PAST")


def _audit(link: PaymentLink, action: str, actor: Actor, now: datetime, **changes: Any) -> None:
    target = ids.text("pl", link.id)
    audit.append(merchant_id=link.merchant_id, actor=actor, action=action, target=target, changes=changes, now=now)


# --- the payer's side ------------------------------------------------------------------------------------


def opened(token: str) -> PaymentLink:
    """Return the link that a token opens; raises TokenRefused where there is none any more."""
    merchant_id, link_id = tokens.read(tokens.LINK, token, 2)
    link = search(merchant_id=merchant_id).filter(id=link_id).select_related("merchant__organization").first()
    if link is None:
        raise tokens.TokenRefused("the link is gone")
    return link


def refusal(link: PaymentLink, now: datetime) -> Conflict | None:
    """Say why a link takes no payment now; None where it does."""
    if link.status == Status.DISABLED or link.deleted_at is not None:
        return Conflict("This link is switched off.", code="PAYMENT_LINK_DISABLED")
    if link.expires_at is not None and link.expires_at <= now:
        return Conflict("This link has expired.", code="PAYMENT_LINK_EXPIRED")
    if link.max_uses is not None and link.uses >= link.max_uses:
        return Conflict("This link has been used as often as it may be.", code="PAYMENT_LINK_USED_UP")
    return None


def take_use(merchant_id: uuid.UUID, link_id: uuid.UUID, now: datetime) -> None:
    """Take one of a link's uses for an attempt; the last lock of the transaction.

    Raises:
        Conflict: there is none left, or the link has expired or is switched off.
    """
    free = Q(max_uses=None) | Q(uses__lt=F("max_uses"))
    in_time = Q(expires_at=None) | Q(expires_at__gt=now)
    row = PaymentLink.objects.filter(merchant_id=merchant_id, id=link_id)
    if row.filter(free, in_time, status=Status.ACTIVE, deleted_at=None).update(uses=F("uses") + 1):
        return
    raise refusal(row.get(), now) or Conflict("This link takes no payment now.", code="PAYMENT_LINK_USED_UP")


def give_use_back(merchant_id: uuid.UUID, link_id: uuid.UUID) -> None:
    """Give back the use of an attempt that came to nothing."""
    PaymentLink.objects.filter(merchant_id=merchant_id, id=link_id).update(uses=F("uses") - 1)


def use(merchant_id: uuid.UUID, link_id: uuid.UUID) -> None:
    """Count a use, taken before, whose payment came in."""
    PaymentLink.objects.filter(merchant_id=merchant_id, id=link_id).update(completed=F("completed") + 1)


def content_for(session: PaymentSession) -> str:
    """Return what a link releases to who paid in this session; nothing to anybody else."""
    payment = Payment.objects.filter(bucket=session.bucket, id=session.entity_id, status="completed").first()
    if payment is None or payment.link_id is None:
        return ""
    link = PaymentLink.objects.filter(merchant_id=payment.merchant_id, id=payment.link_id).first()
    return link.resource_content if link else ""


# --- orders ----------------------------------------------------------------------------------------------

_TAKE = """
INSERT INTO billing_linkorder (merchant_id, order_id, link_id, payment_id, created_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""


def confirm(
    *,
    merchant_id: uuid.UUID,
    link_id: uuid.UUID,
    order_id: str,
    amount: int,
    currency: str,
    payment_id: uuid.UUID | None,
    now: datetime,
) -> Confirmed:
    """Find the payment of a link that pays for an order, and use it for that order alone.

    Asked again for the same order, it answers the same.

    Args:
        payment_id: the payment that shall be used; else the oldest that came in and pays for no other order.

    Raises:
        NotFound: the merchant has no such link, or the link no such payment.
        Unprocessable: the link costs another amount.
        Conflict: nothing came in that does not pay for another order, or this order was paid through another link.
    """
    link = PaymentLink.objects.filter(merchant_id=merchant_id, id=link_id).first()  # also one that was deleted
    if link is None:
        raise NotFound()
    if (link.amount, link.currency) != (amount, currency):
        raise Unprocessable(
            "The order is not of the link's amount.",
            code="AMOUNT_MISMATCH",
            details={"amount": money.from_nanos(link.amount), "currency": link.currency},
        )
    with transaction.atomic():
        order = LinkOrder.objects.filter(merchant_id=merchant_id, order_id=order_id).first()
        order = order or _take(link, order_id, payment_id, now)
    if order.link_id != link.id or payment_id not in (None, order.payment_id):
        raise Conflict("This order was paid by another payment.", code="ORDER_PAID_OTHERWISE")
    payment = Payment.objects.get(bucket=ids.bucket_of(order.payment_id), id=order.payment_id)
    return Confirmed(order, payment, link)


def _given_back(link: PaymentLink) -> QuerySet[Any]:
    """Find what payers have got back, wholly or in part: it pays for nothing."""
    back = PaymentAttempt.objects.filter(merchant_id=link.merchant_id, purpose="payment", refunded__gt=0)
    return back.values("target_id")


def _disputed(link: PaymentLink) -> QuerySet[Any]:
    """Find what payers' banks have taken back, or may keep: it pays for nothing either."""
    disputes = PaymentDispute.objects.filter(merchant_id=link.merchant_id).exclude(state=PaymentDispute.State.WON)
    attempts = PaymentAttempt.objects.filter(merchant_id=link.merchant_id, purpose="payment")
    return attempts.filter(id__in=disputes.values("attempt_id")).values("target_id")


def _take(link: PaymentLink, order_id: str, payment_id: uuid.UUID | None, now: datetime) -> LinkOrder:
    """Use one of a link's payments for an order; of two orders that race for it, one gets another or is refused."""
    came_in = Payment.objects.filter(
        merchant_id=link.merchant_id,
        link_id=link.id,
        status=Payment.Status.COMPLETED,
        amount=link.amount,
        currency=link.currency,
    )
    if payment_id is not None:
        if not Payment.objects.filter(
            bucket=ids.bucket_of(payment_id), id=payment_id, merchant_id=link.merchant_id, link_id=link.id
        ).exists():
            raise NotFound("The link has no such payment.", details={"field": "paymentId"})
        came_in = came_in.filter(id=payment_id)
    came_in = came_in.exclude(id__in=_given_back(link)).exclude(id__in=_disputed(link))
    taken = LinkOrder.objects.filter(merchant_id=link.merchant_id, link_id=link.id).values("payment_id")
    for free_id in came_in.exclude(id__in=taken).order_by("completed_at", "id").values_list("id", flat=True):
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, [link.merchant_id, order_id, link.id, free_id, now])
        order = LinkOrder.objects.filter(merchant_id=link.merchant_id, order_id=order_id).first()
        if order is not None:
            return order
    if came_in.exists():
        raise Conflict("What came in pays for other orders.", code="PAYMENT_ALREADY_USED")
    raise Conflict("Nothing has come in for this yet.", code="PAYMENT_NOT_COMPLETED")
