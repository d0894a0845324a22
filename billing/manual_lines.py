"""Manual lines: what a merchant puts on an open invoice besides what is counted, a charge or a credit.

A line is charged like everything else on the invoice: taxed as a fee is, numbered within its wallet, settled into the
ledger. It is owed, not drawn from the prepaid balance. A credit may not take the invoice below zero: it comes off what
is owed on it, or, where that is less, goes back to the balance that paid for the rest.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing import charges, money, plans, rating, statements, subscription_reads, taxes
from billing.models import Charge, Invoice, ManualLine, Subscription, Wallet
from customers import books
from customers.models import Book
from merchants import idempotency, ids
from merchants.errors import Conflict, IdempotencyConflict, Unprocessable, ValidationFailed

LINES_PER_INVOICE_MAX = 1_000
OPEN = (Invoice.Status.ACTIVE, Invoice.Status.CLOSING)


@dataclass(frozen=True, kw_only=True)
class NewLine:
    """What a merchant asks for: for a subscription or for one invoice of it, exactly one of them.

    ``unit_price`` is exact, in major units, and may be below zero. Without times the line is for today.
    """

    name: str
    currency: str
    quantity: Decimal
    unit_price: Decimal
    subscription_id: uuid.UUID | None = None
    invoice_id: uuid.UUID | None = None
    description: str = ""
    invoice_at: datetime | None = None
    shown_from: datetime | None = None
    shown_to: datetime | None = None
    key: str | None = None


def add(*, merchant_id: uuid.UUID, new: NewLine) -> tuple[ManualLine, bool]:
    """Put a line on an open invoice and charge it; under the same key the first line is returned.

    Returns:
        The line, and whether it was made now.

    Raises:
        NotFound: the merchant has no such subscription or invoice.
        ValidationFailed: not exactly one of them is named, or the times are the wrong way round.
        Conflict: the invoice is not open, or has as many lines as it may have.
        Unprocessable: the currency is another one, no invoice is open for that time, or it would fall below zero.
        IdempotencyConflict: the key was used for another line.
    """
    named = _named(merchant_id, new)
    with transaction.atomic():
        book, now = books.lock(named.bucket, named.customer_id)
        fingerprint = idempotency.fingerprint(*[str(value) for value in vars(new).values()])
        if new.key is not None and (first := _under_key(named, new.key)) is not None:
            if bytes(first.fingerprint or b"") != fingerprint:
                raise IdempotencyConflict()
            return first, False
        subscription = subscription_reads.find(merchant_id=merchant_id, subscription_id=named.id)
        invoice = _invoice(subscription, new, now)
        _check(invoice, new)
        line = _write(subscription, invoice, new, book, fingerprint, now)
        _charge(subscription, invoice, line, now)
        return line, True


def _named(merchant_id: uuid.UUID, new: NewLine) -> Subscription:
    subscription_id = new.subscription_id
    if new.invoice_id is not None and subscription_id is None:
        subscription_id = statements.find(merchant_id=merchant_id, invoice_id=new.invoice_id).subscription_id
    elif new.invoice_id is not None or subscription_id is None:
        raise ValidationFailed(
            "Give exactly one of subscriptionId and invoiceId.", field="subscriptionId", code="SUBSCRIPTION_OR_INVOICE"
        )
    return subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)


def _under_key(subscription: Subscription, key: str) -> ManualLine | None:
    of_customer = {"bucket": subscription.bucket, "customer_id": subscription.customer_id}
    return ManualLine.objects.filter(**of_customer, idempotency_key=key).first()


def _invoice(subscription: Subscription, new: NewLine, now: datetime) -> Invoice:
    """Find the invoice a line is for: the one named, or the one that takes what is used at that time."""
    of_bucket = Invoice.objects.filter(bucket=subscription.bucket)
    if new.invoice_id is not None:
        invoice = of_bucket.get(id=new.invoice_id)
        if invoice.status not in OPEN:
            raise Conflict(
                f"The invoice is {invoice.status}: it takes lines while it is active or closing.",
                code="INVOICE_NOT_OPEN",
                details={"status": invoice.status.upper()},
            )
        return invoice
    if subscription.status == Subscription.Status.TERMINATED or subscription.invoice_id is None:
        raise Conflict("The subscription has no open invoice.", code="INVOICE_NOT_OPEN")
    at = max(new.invoice_at or now, now)
    later = subscription.next_invoice_id or subscription.invoice_id
    invoice = of_bucket.get(id=subscription.invoice_id if at < subscription.period_end else later)
    if at >= invoice.period_end:
        raise Unprocessable(
            "invoiceAt lies beyond the next period.", code="INVOICE_AT_TOO_FAR", details={"field": "invoiceAt"}
        )
    return invoice


def _check(invoice: Invoice, new: NewLine) -> None:
    if new.currency != invoice.currency:
        raise Unprocessable(
            f"The line is in {new.currency}, the invoice in {invoice.currency}.", code="CURRENCY_MISMATCH"
        )
    if new.shown_from is not None and new.shown_to is not None and new.shown_to < new.shown_from:
        raise ValidationFailed("periodEnd must not lie before periodStart.", field="periodEnd", code="INVALID_PERIOD")
    own = ManualLine.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id)
    if own.count() >= LINES_PER_INVOICE_MAX:
        raise Conflict(f"An invoice has at most {LINES_PER_INVOICE_MAX} manual lines.", code="TOO_MANY_LINES")


def _write(
    subscription: Subscription, invoice: Invoice, new: NewLine, book: Book, fingerprint: bytes, now: datetime
) -> ManualLine:
    prices = plans.load_version(subscription.plan_version_id)
    tax_rate = taxes.rate(
        customer_rates=taxes.known(book.assessed_rates, book.tax_rates),
        plan_id=subscription.plan_id,
        plan_rate=prices.default_tax_rate,
        is_exempt=subscription.tax_exempt,
    )
    exact = money.EXACT.multiply(new.quantity, new.unit_price)
    totals = rating.totals(exact, tax_rate, prices.tax_behavior, book.merchant.platform_fee_rate)
    return ManualLine.objects.create(
        bucket=invoice.bucket,
        id=ids.new(invoice.bucket),
        customer_id=invoice.customer_id,
        merchant_id=invoice.merchant_id,
        subscription_id=subscription.id,
        invoice_id=invoice.id,
        name=new.name,
        description=new.description,
        quantity=new.quantity,
        unit_price=new.unit_price,
        period_start=invoice.period_start,
        shown_from=new.shown_from or now,
        shown_to=new.shown_to or max(now, new.shown_from or now),
        invoice_at=new.invoice_at or now,
        tax_rate=tax_rate,
        fee_rate=book.merchant.platform_fee_rate,
        net=totals.net,
        tax=totals.tax,
        gross=totals.gross,
        idempotency_key=new.key,
        fingerprint=None if new.key is None else fingerprint,
        created_at=now,
    )


def _charge(subscription: Subscription, invoice: Invoice, line: ManualLine, now: datetime) -> None:
    fee = money.round_nanos(money.EXACT.multiply(money.to_decimal(line.net), line.fee_rate))
    charges.post(
        _wallet(subscription, invoice, line),
        subscription,
        rating.Totals(line.net, line.tax, line.gross, fee),
        kind=Charge.Kind.MANUAL,
        source_id=line.id,
        price_version_id=line.id,
        invoice_id=invoice.id,
        period_start=line.period_start,
        quantity=line.quantity,
        now=now,
    )


def _wallet(subscription: Subscription, invoice: Invoice, line: ManualLine) -> Wallet:
    """Choose who bears a line; raises Unprocessable where a credit is more than the invoice comes to."""
    pots = charges.pots(subscription)
    totals = statements.totals_of([invoice])[invoice.id]
    if line.gross >= 0 or totals.unpaid + line.gross >= 0:
        return pots[subscription.credit_wallet_id]
    if totals.paid + line.gross >= 0:
        return pots[subscription.prepaid_wallet_id]
    most = max(totals.unpaid, totals.paid, 0)
    raise Unprocessable(
        "The line would take the invoice below zero.",
        code="INVOICE_BELOW_ZERO",
        details={"most": money.from_nanos(most), "currency": invoice.currency},
    )
