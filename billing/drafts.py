"""Drafts: invoices that take no more charges, and wait to be looked at, or for some hours, before they are issued."""

import logging
import uuid
from datetime import datetime

from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef

from billing import issuing, statements
from billing.models import Invoice, Subscription
from customers import books
from customers.models import Book
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import Conflict, Unprocessable

logger = logging.getLogger(__name__)

DRAFTS_PER_PASS = 1_000
FAILURE_LENGTH_MAX = 500


def approve(*, merchant_id: uuid.UUID, invoice_id: uuid.UUID, actor: Actor) -> Invoice:
    """Issue a draft.

    Raises:
        NotFound: the merchant has no such invoice.
        Conflict: it is no draft.
        Unprocessable: it would be wrong.
    """
    seen = statements.find(merchant_id=merchant_id, invoice_id=invoice_id)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        invoice = statements.find(merchant_id=merchant_id, invoice_id=invoice_id)
        if invoice.status != Invoice.Status.DRAFT:
            raise Conflict(
                f"The invoice is {invoice.status}, no draft.",
                code="INVOICE_NOT_DRAFT",
                details={"status": invoice.status.upper()},
            )
        try:
            _issue(invoice, now)
        except issuing.Unbillable as wrong:
            raise Unprocessable(str(wrong), code="UNBILLABLE") from wrong
        audit.append(
            merchant_id=merchant_id,
            actor=actor,
            action="invoice.approved",
            target=ids.text("inv", invoice.id),
            changes={"number": invoice.number},
            now=now,
        )
    return invoice


def issue_due(*, now: datetime, limit: int = DRAFTS_PER_PASS) -> int:
    """Issue the drafts that have waited long enough, each in a transaction of its own; return how many there were.

    One that cannot be issued does not keep the others from being issued; it stays a draft, and says why.
    """
    early = Book.objects.filter(
        bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), test_clock__lt=OuterRef("approve_at")
    )
    due = Invoice.objects.filter(~Exists(early), status=Invoice.Status.DRAFT, approve_at__lte=now)
    issued = 0
    for bucket, customer_id, invoice_id in list(
        due.order_by("approve_at").values_list("bucket", "customer_id", "id")[:limit]
    ):
        issued += issue_one(bucket, customer_id, invoice_id)
    return issued


def issue_one(bucket: int, customer_id: uuid.UUID, invoice_id: uuid.UUID) -> bool:
    """Issue a draft if it has waited long enough by its customer's time, or write down why it cannot be; tell which."""
    try:
        return _issue_due(bucket, customer_id, invoice_id)
    except OperationalError:
        raise  # a lost connection or a deadlock: the next pass finds everything as it was
    except issuing.Unbillable as wrong:
        logger.exception("draft %s cannot be issued", ids.text("inv", invoice_id))
        held = Invoice.objects.filter(bucket=bucket, id=invoice_id, status=Invoice.Status.DRAFT)
        held.update(approve_at=None, failure_reason=str(wrong)[:FAILURE_LENGTH_MAX])
        return False


def _issue_due(bucket: int, customer_id: uuid.UUID, invoice_id: uuid.UUID) -> bool:
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        invoice = Invoice.objects.get(bucket=bucket, id=invoice_id)
        if invoice.status != Invoice.Status.DRAFT or invoice.approve_at is None or invoice.approve_at > now:
            return False
        _issue(invoice, now)
    return True


def _issue(invoice: Invoice, now: datetime) -> None:
    subscription = Subscription.objects.get(bucket=invoice.bucket, id=invoice.subscription_id)
    issuing.finalise(subscription, [invoice], now)
