"""Invoices: opened a period ahead, collecting charges, closed when the period's grace is over.

Two invoices of a subscription are open at any time: the current period's, which takes everything up to its end, and
the next one's, which takes what comes after. So an event never waits for a period to be rolled over, and during the
grace a late event still lands on its own period's invoice. At the end of the grace the current invoice is closed and
the next one takes its place. An event later than that lands on the invoice that is then open, and keeps its own period.

Lock order: the customer's book, then what settlement locks, and last the merchant's row that numbers invoices.
"""

import logging
import random
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef

from billing import (
    cycles,
    fees,
    followers,
    issuing,
    leftovers,
    plan_changes,
    rebates,
    redemptions,
    rerating,
    trials,
    trueups,
)
from billing.models import Invoice, Subscription
from customers import books
from customers.models import Book
from merchants import audit, ids
from merchants.audit import SYSTEM, Actor
from merchants.errors import Conflict, NotFound
from metering import periods

logger = logging.getLogger(__name__)

SUBSCRIPTIONS_PER_PASS = 1_000
BILLED_AT_ONCE = 20  # between two looks at which of them are still due
STEPS_PER_PASS = 60
FAILURE_LENGTH_MAX = 500

Status = Invoice.Status


# --- opening ---------------------------------------------------------------------------------------------


def open_first(subscription: Subscription, now: datetime) -> None:
    """Open the invoices of a starting subscription's first two periods; the caller holds the lock of the book."""
    first = periods.Period(subscription.period_start, subscription.period_end)
    subscription.invoice_id = _open(subscription, first, 1, now).id
    subscription.next_invoice_id = _open(subscription, cycles.following(subscription, first), 2, now).id
    subscription.billing_due_at = first.start if first.start > now else first.end
    subscription.save(update_fields=["invoice_id", "next_invoice_id", "billing_due_at"])


def _open(subscription: Subscription, period: periods.Period, number: int, now: datetime) -> Invoice:
    invoice = Invoice(
        bucket=subscription.bucket,
        id=ids.new(subscription.bucket),
        customer_id=subscription.customer_id,
        merchant_id=subscription.merchant_id,
        subscription_id=subscription.id,
        sequence_number=number,
        currency=subscription.currency,
        period_start=period.start,
        period_end=period.end,
        grace_end=period.end + timedelta(seconds=settings.INVOICE_GRACE_SECONDS),
        created_at=now,
        updated_at=now,
    )
    invoice.status = _standing(invoice, now)
    invoice.save(force_insert=True)
    return invoice


def _standing(invoice: Invoice, now: datetime) -> Status:
    """Tell where an invoice that is not closed yet stands in its life."""
    if now < invoice.period_start:
        return Status.PENDING
    return Status.ACTIVE if now < invoice.period_end else Status.CLOSING


# --- keeping up with time --------------------------------------------------------------------------------


def bill_due(
    *, now: datetime, limit: int = SUBSCRIPTIONS_PER_PASS, is_time_up: Callable[[], bool] = lambda: False
) -> int:
    """Bring subscriptions that are due up to date: charge fees, begin and end periods, close invoices.

    Each step is a transaction of its own. A subscription that cannot be billed is parked and logged; it does not keep
    the others from being billed. Several processes may do this at once: they come in any order, so that two rarely meet
    at one, and what another has billed meanwhile is passed over.

    Returns:
        How many steps were taken.
    """
    # Whose test clock stands before the time would be found due at every pass.
    early = Book.objects.filter(
        bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), test_clock__lt=OuterRef("billing_due_at")
    )
    due = Subscription.objects.filter(~Exists(early), billing_due_at__lte=now)
    found = list(due.order_by("billing_due_at").values_list("bucket", "id")[:limit])
    random.shuffle(found)
    steps = 0
    for place in range(0, len(found), BILLED_AT_ONCE):
        left = due.filter(pk__in=found[place : place + BILLED_AT_ONCE])
        for bucket, customer_id, subscription_id in left.values_list("bucket", "customer_id", "id"):
            steps += bill(bucket, customer_id, subscription_id)
            if is_time_up():
                return steps
    return steps


def bill(bucket: int, customer_id: uuid.UUID, subscription_id: uuid.UUID) -> int:
    """Bring one subscription up to date by its customer's time, or park it; return how many steps were taken."""
    try:
        return _catch_up(bucket, customer_id, subscription_id)
    except OperationalError:
        raise  # a lost connection or a deadlock: the next pass finds everything as it was
    except Exception as error:  # whatever is wrong with one must not keep the others from being billed
        logger.exception("subscription %s cannot be billed; it is parked", ids.text("sub", subscription_id))
        _park(bucket, customer_id, subscription_id, error)
        return 0


def _catch_up(bucket: int, customer_id: uuid.UUID, subscription_id: uuid.UUID) -> int:
    for step in range(STEPS_PER_PASS):
        with transaction.atomic():
            _, now = books.lock(bucket, customer_id)
            subscription = Subscription.objects.get(bucket=bucket, id=subscription_id)
            if not bring_up_to_date(subscription, now):
                return step
            if subscription.billing_due_at is None or subscription.billing_due_at > now:
                return step + 1
    return STEPS_PER_PASS


def _park(bucket: int, customer_id: uuid.UUID, subscription_id: uuid.UUID, error: Exception) -> None:
    """Take a subscription off the schedule, and write the reason on its invoice."""
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        subscription = Subscription.objects.get(bucket=bucket, id=subscription_id)
        subscription.billing_due_at = None
        subscription.save(update_fields=["billing_due_at"])
        has_ended = subscription.status == Subscription.Status.TERMINATED
        parked = _invoice(subscription, subscription.next_invoice_id if has_ended else subscription.invoice_id)
        parked.status, parked.failure_reason, parked.updated_at = Status.FAILED, str(error)[:FAILURE_LENGTH_MAX], now
        parked.save(update_fields=["status", "failure_reason", "updated_at"])


def retry(*, invoice_id: uuid.UUID, merchant_id: uuid.UUID | None = None, actor: Actor = SYSTEM) -> Invoice:
    """Put a parked invoice back on the schedule, once what kept it from being closed is put right.

    Args:
        merchant_id: whose it has to be; None: anybody's.

    Raises:
        NotFound: there is no such invoice.
        Conflict: it is not parked.
    """
    bucket = ids.bucket_of(invoice_id)
    with transaction.atomic():
        found = Invoice.objects.filter(bucket=bucket, id=invoice_id).first()
        if found is None or merchant_id not in (None, found.merchant_id):
            raise NotFound()
        _, now = books.lock(bucket, found.customer_id)
        invoice = Invoice.objects.get(bucket=bucket, id=invoice_id)
        if invoice.status != Status.FAILED:
            raise Conflict(f"The invoice is {invoice.status}, not parked.")
        reason = invoice.failure_reason
        _stand(invoice, now)
        Subscription.objects.filter(bucket=bucket, id=invoice.subscription_id).update(billing_due_at=now)
        audit.append(
            merchant_id=invoice.merchant_id,
            actor=actor,
            action="invoice.tried_again",
            target=ids.text("inv", invoice_id),
            changes={"reason": reason},
            now=now,
        )
    return invoice


def bring_up_to_date(subscription: Subscription, now: datetime) -> bool:
    """Take a subscription's next step, if one is due; the caller holds the lock of the book.

    One step closes at most one invoice, so that a subscription that was left alone for periods catches up in as many
    transactions, and the merchant's numbers are locked for a short time only.

    Returns:
        Whether a step was due.
    """
    due_at = subscription.billing_due_at
    if due_at is None or due_at > now:
        return False
    if subscription.status == Subscription.Status.TERMINATED:
        return _close_additional(subscription, now)
    if subscription.status not in Subscription.RUNNING:
        return False
    if subscription.ending_at is not None and subscription.ending_at <= now:
        return False  # it is about to be ended, and closed then
    if trials.is_over(subscription, now):
        return False  # it is about to be found out whether it goes on
    if plan_changes.apply_due(subscription, now):
        return True
    current = _invoice(subscription, subscription.invoice_id)
    # Not beyond the grace of the current period: fees that fall due later belong to invoices not opened yet.
    fee_due = fees.charge_due(subscription, min(now, current.grace_end))
    if now >= current.period_end:
        followers.renewed(subscription, now)
    if now >= current.grace_end:
        current, following = _roll(subscription, current, now)
    else:
        following = _invoice(subscription, subscription.next_invoice_id)
    for invoice in (current, following):
        _stand(invoice, now)
    ahead = [at for at in (current.period_start, current.period_end, current.grace_end) if at > now]
    subscription.billing_due_at = min([*ahead, *([fee_due] if fee_due else [])], default=now)
    subscription.save(update_fields=["billing_due_at"])
    return True


def _invoice(subscription: Subscription, invoice_id: uuid.UUID | None) -> Invoice:
    if invoice_id is None:
        raise Invoice.DoesNotExist(f"{ids.text('sub', subscription.id)} has no such open invoice")
    return Invoice.objects.get(bucket=subscription.bucket, id=invoice_id)


def _stand(invoice: Invoice, now: datetime) -> None:
    standing = _standing(invoice, now)
    if invoice.status != standing:
        invoice.status, invoice.failure_reason, invoice.updated_at = standing, "", now
        invoice.save(update_fields=["status", "failure_reason", "updated_at"])


def _roll(subscription: Subscription, current: Invoice, now: datetime) -> tuple[Invoice, Invoice]:
    """Close the current invoice and put the next one in its place; return that one, and the one after it."""
    rerating.rate_all(subscription, current.period_end, now)
    following = _invoice(subscription, subscription.next_invoice_id)
    after = cycles.following(subscription, periods.Period(following.period_start, following.period_end))
    subscription.period_start, subscription.period_end = following.period_start, following.period_end
    subscription.invoice_id = following.id
    opened = _open(subscription, after, following.sequence_number + 1, now)
    subscription.next_invoice_id = opened.id
    subscription.updated_at = now
    subscription.save(update_fields=["period_start", "period_end", "invoice_id", "next_invoice_id", "updated_at"])
    rerating.carry_over(subscription, now)
    _settle_all(subscription, [current], now)
    issuing.issue(subscription, [current], now)
    return following, opened


def _settle_all(subscription: Subscription, closing: Sequence[Invoice], now: datetime) -> None:
    """Settle every charge of invoices that are about to be closed, and those that closing them brings about."""
    issuing.settle(subscription, now)
    for invoice in closing:
        for finish in (
            trueups.charge_due,
            redemptions.take_off,
            rebates.hold_at_zero,
        ):  # a coupon takes something off true-ups as well
            if finish(subscription, invoice, now):
                issuing.settle(subscription, now)


# --- ending ----------------------------------------------------------------------------------------------


def close_final(subscription: Subscription, now: datetime) -> None:
    """Close what is open of a subscription that has ended; the caller holds the lock of the book.

    There is no grace: what ended takes no more usage. The next period's invoice is closed too where something landed on
    it, and cancelled where nothing did.
    """
    ended_at = subscription.terminated_at or now
    fees.charge_due(subscription, now)
    rerating.rate_ended(subscription, now)
    current = _invoice(subscription, subscription.invoice_id)
    following = _invoice(subscription, subscription.next_invoice_id)
    issuing.settle(subscription, now)
    has_begun = following.period_start < ended_at or issuing.has_charges(following)  # use may be dated a little ahead
    begun = [following] if has_begun else []
    _settle_all(subscription, [current, *begun], now)
    closing = [current]
    if issuing.has_charges(following):
        closing.append(following)
    else:
        _cancel(following, now)
    for invoice in closing:
        invoice.period_end = max(invoice.period_start, min(invoice.period_end, ended_at))
        invoice.grace_end = min(invoice.grace_end, now)
    subscription.next_invoice_id = subscription.billing_due_at = None
    subscription.save(update_fields=["next_invoice_id", "billing_due_at"])
    issuing.issue(subscription, closing, now)


def _close_additional(subscription: Subscription, now: datetime) -> bool:
    """Close the additional invoice of a subscription that has ended, once it has gathered for long enough."""
    if leftovers.wait_for_drafts(subscription, now):
        return True
    invoice = _invoice(subscription, subscription.next_invoice_id)
    rerating.rate_all(subscription, max(now, subscription.period_end), now)
    _settle_all(subscription, [invoice], now)
    leftovers.credit(subscription, invoice, now)
    subscription.next_invoice_id = subscription.billing_due_at = None
    subscription.save(update_fields=["next_invoice_id", "billing_due_at"])
    if leftovers.is_left(subscription, invoice):
        issuing.issue(subscription, [invoice], now)
    else:
        _cancel(invoice, now)
    return True


def _cancel(invoice: Invoice, now: datetime) -> None:
    invoice.status, invoice.updated_at = Status.CANCELLED, now
    invoice.save(update_fields=["status", "updated_at"])
