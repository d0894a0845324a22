"""Collecting: carries out what is planned about unpaid invoices (``billing.dunning``), when its time has come.

Each step is noted in the transaction that does it, or that begins its payment; so a crash repeats none, and a second
pass finds nothing to do. The provider is asked afterwards, outside of any transaction: what becomes of that is brought
by whoever brings the news of the payment.
"""

import logging
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef

from billing import dunning, invoice_payments, notices, pauses, receivables, subscriptions, voiding
from billing.dunning import State
from billing.models import Dunning, Invoice, PaymentAttempt, Subscription
from billing.payments import attempts
from billing.policies import FinalAction
from customers import books
from customers.models import Book
from merchants import ids

logger = logging.getLogger(__name__)

INVOICES_PER_PASS = 500
ONE_DAY = timedelta(days=1)
NOT_PAID = "An invoice was not paid."


def collect_due(
    *, now: datetime, limit: int = INVOICES_PER_PASS, is_time_up: Callable[[], bool] = lambda: False
) -> int:
    """Take the step that is due about each unpaid invoice; return how many steps were taken.

    What is wrong with one invoice does not keep the others from being collected.
    """
    early = Book.objects.filter(
        bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), test_clock__lt=OuterRef("next_at")
    )
    due = Dunning.objects.filter(~Exists(early), next_at__lte=now).order_by("next_at")
    taken = 0
    for bucket, invoice_id in list(due.values_list("bucket", "invoice_id")[:limit]):
        taken += collect(bucket, invoice_id)
        if is_time_up():
            break
    return taken


def collect(bucket: int, invoice_id: uuid.UUID) -> bool:
    """Take the step that is due about an invoice by its customer's time; tell whether one was taken."""
    try:
        return _take_step(bucket, invoice_id)
    except OperationalError:
        raise  # a lost connection or a deadlock: the next pass finds everything as it was
    except Exception:  # whatever is wrong with one must not keep the others from being collected
        logger.exception("invoice %s cannot be collected", ids.text("inv", invoice_id))
        return False


def _take_step(bucket: int, invoice_id: uuid.UUID) -> bool:
    attempt = None
    with transaction.atomic():
        seen = Invoice.objects.get(bucket=bucket, id=invoice_id)
        _, now = books.lock(bucket, seen.customer_id)
        row = Dunning.objects.get(bucket=bucket, invoice_id=invoice_id)
        if row.next_at is None or row.next_at > now:
            return False  # somebody else was here
        invoice = Invoice.objects.get(bucket=bucket, id=invoice_id)
        if invoice.status not in receivables.OPEN:
            dunning.end(row, State.PAID if invoice.status == Invoice.Status.PAID else State.STOPPED, now)
            return True
        if attempts.open_for(bucket, PaymentAttempt.Purpose.INVOICE, invoice_id) is not None:
            return False  # it may just be paid: what is due is due until that has come to an end
        attempt = _act(row, invoice, now)
        if row.state == State.RUNNING:
            dunning.advance(row, now)
    if attempt is not None:
        attempts.submit(attempt)
    return True


def _act(row: Dunning, invoice: Invoice, now: datetime) -> PaymentAttempt | None:
    """Do what is due; returns the payment that was begun."""
    match dunning.what(row):
        case dunning.COLLECT:
            attempt = invoice_payments.begin_collecting(invoice, now)
            if attempt is None and invoice.unpaid_amount:
                row.last_failure = "There is no saved card, and the balance does not cover it."
                notices.payment_needed(invoice, now, unpaid=invoice.unpaid_amount)
            return attempt
        case dunning.REMIND:
            if not _was_declined(invoice, now):  # else they were written to about it today
                notices.reminder(invoice, now, step=row.step)
        case _:
            _finish(row, invoice, now)
    return None


def _was_declined(invoice: Invoice, now: datetime) -> bool:
    """Tell whether a card was charged for an invoice today, in vain, of which the customer was told."""
    declined = invoice_payments.attempts_of(invoice).filter(state=PaymentAttempt.State.DECLINED, session_id=None)
    return declined.filter(resolved_at__gt=now - ONE_DAY).exists()


def _finish(row: Dunning, invoice: Invoice, now: datetime) -> None:
    """Take the policy's last step."""
    subscription = Subscription.objects.get(bucket=invoice.bucket, id=invoice.subscription_id)
    match row.final_action:
        case FinalAction.PAUSE if subscription.status == Subscription.Status.ACTIVE:
            pauses.stand(subscription, Subscription.Status.PAUSED, now)
        case FinalAction.TERMINATE if subscription.status in Subscription.RUNNING:
            subscriptions.end(subscription, reason=NOT_PAID, now=now)
        case FinalAction.UNCOLLECTIBLE:
            voiding.give_up(invoice, now)
            row.refresh_from_db()
