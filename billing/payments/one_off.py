"""One-off payments: money that a merchant asks for once, and earns when it comes in.

The amount is what is charged; no tax is added to it. A payer who is no customer has a book of their own. What becomes
of money that comes in is for ``earnings``.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from billing import money
from billing.models import Payment, PaymentClaim, PaymentLink, PaymentSession
from billing.payments import guests, links, sessions
from billing.payments.sessions import Follower
from customers import books, registry
from merchants import idempotency, ids, outbox
from merchants.errors import Conflict, IdempotencyConflict, NotFound, ValidationFailed

AMOUNT_MIN, AMOUNT_MAX = money.NANOS, 5_000 * money.NANOS
CURRENCIES = ("USD", "EUR", "GBP", "AUD")
LIFETIME = timedelta(days=30)
LIFETIME_MAX = timedelta(days=31)
LINK_LIFETIME = timedelta(hours=24)  # a payer who began one may come back so long
LINE_ITEMS_MAX = 100

Status, Entity = Payment.Status, PaymentSession.Entity


@dataclass(frozen=True, kw_only=True)
class LineItem:
    """A part of what is charged for: nanos of one, and how many."""

    description: str
    amount: int
    quantity: int = 1


@dataclass(frozen=True, kw_only=True)
class NewPayment:
    """What a merchant asks for; the amount in nanos."""

    amount: int
    currency: str
    customer_id: uuid.UUID | None = None
    reference: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    line_items: Sequence[LineItem] = ()
    success_url: str | None = None
    failure_url: str | None = None
    saves_method: bool = False
    lifetime: timedelta = LIFETIME
    least: int = AMOUNT_MIN


@dataclass(frozen=True, slots=True)
class Asked:
    """A payment with the session in which it is paid, and whether it was made now."""

    payment: Payment
    session: PaymentSession | None
    is_new: bool = False


def register() -> None:
    """Say what payments do with their sessions."""
    sessions.register(Entity.PAYMENT, Follower(begun=_begun, failed=_failed, over=_over))


# --- how one is asked for --------------------------------------------------------------------------------


def ask(*, merchant_id: uuid.UUID, new: NewPayment, key: str | None) -> Asked:
    """Ask for a payment, or find the one that was asked for under the same key.

    Raises:
        NotFound: the merchant has no such customer.
        ValidationFailed: the amount, the lines or an address is not allowed.
        IdempotencyConflict: the key was used for another payment.
    """
    _check(new)
    fingerprint = idempotency.fingerprint(repr(new))
    with transaction.atomic():
        if new.customer_id is not None:
            registry.find(merchant_id=merchant_id, customer_id=new.customer_id)
        payment_id = ids.new(None if new.customer_id is None else ids.bucket_of(new.customer_id))
        if key is not None:
            claimed = _claim(merchant_id, key, payment_id, fingerprint)
            if claimed != payment_id:
                return look_up(merchant_id=merchant_id, payment_id=claimed)
        payment, session = _write(merchant_id, payment_id, new, key)
        return Asked(payment, session, is_new=True)


def _check(new: NewPayment) -> None:
    if new.currency not in CURRENCIES:
        message = f"currency must be one of {', '.join(CURRENCIES)}."
        raise ValidationFailed(message, field="currency", code="CURRENCY_NOT_SUPPORTED")
    if new.amount % money.minor_unit(new.currency) or not new.least <= new.amount <= AMOUNT_MAX:
        least, most = money.from_nanos(new.least, 2), money.from_nanos(AMOUNT_MAX, 2)
        message = f"amount must be from {least} to {most}, with at most two decimals."
        raise ValidationFailed(message, field="amount", code="INVALID_AMOUNT")
    if new.saves_method and new.customer_id is None:
        message = "savePaymentMethod needs a customerId: a card is saved for a customer."
        raise ValidationFailed(message, field="savePaymentMethod", code="CUSTOMER_REQUIRED")
    if new.line_items and sum(line.amount * line.quantity for line in new.line_items) != new.amount:
        message = "lineItems must come to the amount."
        raise ValidationFailed(message, field="lineItems", code="LINE_ITEMS_MISMATCH")


_CLAIM = """
INSERT INTO billing_paymentclaim AS claim (merchant_id, key, payment_id, fingerprint) VALUES (%s, %s, %s, %s)
ON CONFLICT (merchant_id, key) DO NOTHING
"""


def _claim(merchant_id: uuid.UUID, key: str, payment_id: uuid.UUID, fingerprint: bytes) -> uuid.UUID:
    """Return whose the key is; waits for whoever is asking under it."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [merchant_id, key, payment_id, fingerprint])
    claim = PaymentClaim.objects.get(merchant_id=merchant_id, key=key)
    if bytes(claim.fingerprint) != fingerprint:
        raise IdempotencyConflict()
    return claim.payment_id


def _write(
    merchant_id: uuid.UUID, payment_id: uuid.UUID, new: NewPayment, key: str | None
) -> tuple[Payment, PaymentSession]:
    is_guest = new.customer_id is None
    payer_id = new.customer_id or guests.enter(merchant_id, bucket=ids.bucket_of(payment_id))
    book, now = books.lock(ids.bucket_of(payer_id), payer_id)
    if book.closed_at is not None:
        raise NotFound()
    payment = Payment.objects.create(
        bucket=book.bucket,
        id=payment_id,
        customer_id=payer_id,
        merchant_id=merchant_id,
        is_guest=is_guest,
        status=Status.PENDING,
        amount=new.amount,
        currency=new.currency,
        reference=new.reference,
        metadata=new.metadata,
        line_items=[[line.description, str(line.amount), line.quantity] for line in new.line_items],
        idempotency_key=key,
        expires_at=now + new.lifetime,
        created_at=now,
        updated_at=now,
    )
    lines = [(_words(line), line.amount * line.quantity) for line in new.line_items]
    session = open_session(payment, lines, new.success_url, new.failure_url, saves_method=new.saves_method, now=now)
    return payment, session


def _words(line: LineItem) -> str:
    return line.description if line.quantity == 1 else f"{line.quantity} × {line.description}"


def begin_by_link(*, link: PaymentLink, payer_name: str, payer_email: str, now: datetime) -> PaymentSession:
    """Begin a payment of a link for a payer, who is nobody's customer; no use is taken yet.

    Raises:
        Conflict: the link takes no payment now.
    """
    if (refused := links.refusal(link, now)) is not None:
        raise refused
    with transaction.atomic():
        payer_id = guests.enter(link.merchant_id)
        _, now = books.lock(ids.bucket_of(payer_id), payer_id)
        lasts = now + LINK_LIFETIME
        payment = Payment.objects.create(
            bucket=ids.bucket_of(payer_id),
            id=ids.new(ids.bucket_of(payer_id)),
            customer_id=payer_id,
            merchant_id=link.merchant_id,
            is_guest=True,
            status=Status.PENDING,
            amount=link.amount,
            currency=link.currency,
            description=link.description,
            link_id=link.id,
            orderer_id=link.orderer_id,
            payer_name=payer_name,
            payer_email=payer_email.lower(),
            expires_at=min(lasts, link.expires_at or lasts),
            created_at=now,
            updated_at=now,
        )
        return open_session(payment, [(link.description, link.amount)], link.success_url, None, now=now)


def open_session(
    payment: Payment,
    lines: Sequence[sessions.Line],
    success_url: str | None,
    failure_url: str | None,
    *,
    saves_method: bool = False,
    now: datetime,
) -> PaymentSession:
    """Open the session in which a payment is paid; the caller holds the lock of the book."""
    return sessions.open(
        bucket=payment.bucket,
        customer_id=payment.customer_id,
        merchant_id=payment.merchant_id,
        entity=Entity.PAYMENT,
        entity_id=payment.id,
        amount=payment.amount,
        currency=payment.currency,
        breakdown=lines,
        success_url=success_url,
        failure_url=failure_url,
        saves_method=saves_method,
        is_guest=payment.is_guest,
        expires_at=payment.expires_at,
        now=now,
    )


# --- how it is found -------------------------------------------------------------------------------------


def look_up(*, merchant_id: uuid.UUID, payment_id: uuid.UUID) -> Asked:
    """Return a merchant's payment and its session; raises NotFound, also for another merchant's."""
    payment = Payment.objects.filter(bucket=ids.bucket_of(payment_id), id=payment_id, merchant_id=merchant_id).first()
    if payment is None:
        raise NotFound()
    return Asked(payment, sessions.latest(payment.bucket, Entity.PAYMENT, payment.id))


def search(
    *,
    merchant_id: uuid.UUID,
    status: str | None = None,
    customer_id: uuid.UUID | None = None,
    link_id: uuid.UUID | None = None,
) -> QuerySet[Payment]:
    """Return a merchant's payments, newest first.

    Raises:
        NotFound: the merchant has no such customer.
    """
    query = Payment.objects.filter(merchant_id=merchant_id)
    if customer_id is not None:
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        query = query.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    narrowed = {"status": status, "link_id": link_id}
    return query.filter(**{name: value for name, value in narrowed.items() if value}).order_by("-created_at", "-id")


# --- what becomes of it ----------------------------------------------------------------------------------


def cancel(*, merchant_id: uuid.UUID, payment_id: uuid.UUID) -> Asked:
    """Take back a payment that was asked for and is not being paid.

    Raises:
        NotFound: the merchant has no such payment.
        Conflict: it is being paid, was paid, or is over.
    """
    asked = look_up(merchant_id=merchant_id, payment_id=payment_id)
    if asked.session is None:
        raise Conflict("The payment is over.", code="PAYMENT_NOT_PENDING")
    sessions.cancel(merchant_id=merchant_id, session_id=asked.session.id)
    return look_up(merchant_id=merchant_id, payment_id=payment_id)


def _of(session: PaymentSession) -> Payment:
    return Payment.objects.get(bucket=session.bucket, id=session.entity_id)


def _begun(session: PaymentSession, now: datetime) -> None:
    payment = _of(session)
    payment.status, payment.updated_at = Status.PROCESSING, now
    if payment.link_id is not None and not payment.holds_use:
        links.take_use(payment.merchant_id, payment.link_id, now)
        payment.holds_use = True
    payment.save(update_fields=["status", "holds_use", "updated_at"])


def _failed(session: PaymentSession, now: datetime) -> None:
    payment = _of(session)
    back(payment, Status.PENDING, now)
    record("payment.failed.v0", payment, now, failureCode=session.failure_code, failureReason=session.failure_message)


def _over(session: PaymentSession, now: datetime) -> None:
    status = Status.EXPIRED if session.status == PaymentSession.Status.EXPIRED else Status.CANCELLED
    back(_of(session), status, now)


def back(payment: Payment, status: str, now: datetime) -> None:
    """Have a payment stand otherwise that is not being made any more; the use of a link that it held is free."""
    payment.status, payment.updated_at = status, now
    if payment.link_id is not None and payment.holds_use:
        links.give_use_back(payment.merchant_id, payment.link_id)
        payment.holds_use = False
    payment.save(update_fields=["status", "holds_use", "updated_at"])


def record(kind: str, payment: Payment, now: datetime, **more: Any) -> None:
    """Tell the merchant's systems what became of a payment."""
    outbox.record(
        merchant_id=payment.merchant_id,
        type=kind,
        data=public(payment) | more,
        object_id=ids.text("pay", payment.id),
        now=now,
        bucket=payment.bucket,
    )


def public(payment: Payment) -> dict[str, Any]:
    """Return a payment as events show it."""
    return {
        "id": ids.text("pay", payment.id),
        "object": "payment",
        "merchantId": ids.text("org", payment.merchant_id),
        "customerId": None if payment.is_guest else ids.text("cus", payment.customer_id),
        "paymentLinkId": payment.link_id and ids.text("pl", payment.link_id),
        "ordererId": payment.orderer_id and ids.text("cus", payment.orderer_id),
        "amount": money.from_nanos(payment.amount),
        "currency": payment.currency,
        "status": payment.status,
        "reference": payment.reference or None,
        "metadata": payment.metadata,
    }
