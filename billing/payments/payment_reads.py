"""Finding payments: a merchant's, a customer's, and the one that paid for something."""

import uuid

from django.db.models import QuerySet

from billing.models import Payment, PaymentAttempt, PaymentRefund
from billing.payments.refunds import NotRefundable
from customers import books
from merchants import ids
from merchants.errors import NotFound


def search(
    *,
    merchant_id: uuid.UUID,
    customer_id: uuid.UUID | None = None,
    purpose: str | None = None,
    state: str | None = None,
    provider: str | None = None,
) -> QuerySet[PaymentAttempt]:
    """Return the payments of a merchant's customers, or of one of them, the newest first.

    Raises:
        NotFound: the merchant has no such customer.
    """
    query = PaymentAttempt.objects.filter(merchant_id=merchant_id)
    if customer_id is not None:
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        query = query.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    for column, value in (("purpose", purpose), ("state", state), ("provider", provider)):
        if value is not None:
            query = query.filter(**{column: value})
    return query.order_by("-created_at", "-id")


def paid_by(*, merchant_id: uuid.UUID, payment_id: uuid.UUID) -> PaymentAttempt:
    """Return the attempt that paid a one-off payment.

    Raises:
        NotFound: the merchant has no such payment.
        NotRefundable: it is not paid.
    """
    attempt = _of_payment(merchant_id, payment_id).filter(state=PaymentAttempt.State.SUCCEEDED).first()
    if attempt is None:
        raise NotRefundable("This payment is not paid.")
    return attempt


def refunds_of(*, merchant_id: uuid.UUID, payment_id: uuid.UUID) -> QuerySet[PaymentRefund]:
    """Return the refunds of a one-off payment, the newest first; raises NotFound."""
    tried = _of_payment(merchant_id, payment_id).values("id")
    query = PaymentRefund.objects.filter(bucket=ids.bucket_of(payment_id), attempt_id__in=tried)
    return query.order_by("-created_at", "-id")


def _of_payment(merchant_id: uuid.UUID, payment_id: uuid.UUID) -> QuerySet[PaymentAttempt]:
    bucket = ids.bucket_of(payment_id)
    if not Payment.objects.filter(bucket=bucket, id=payment_id, merchant_id=merchant_id).exists():
        raise NotFound()
    return PaymentAttempt.objects.filter(bucket=bucket, target_id=payment_id, purpose=PaymentAttempt.Purpose.PAYMENT)
