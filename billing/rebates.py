"""Rebates: prices below zero, which give back for use, and may not take an invoice below zero.

What they give beyond that is taken back as the invoice closes, from each of them in proportion; it is not carried over.
"""

from collections.abc import Mapping
from datetime import datetime

from billing import charges, discounts, issuing
from billing.charges import Sold
from billing.models import Charge, ForgoneRebate, Invoice, InvoiceRollup, PriceVersion, Subscription
from billing.prices import is_rebate, parse_model
from billing.rating import Totals
from merchants import ids


def hold_at_zero(subscription: Subscription, invoice: Invoice, now: datetime) -> bool:
    """Take back what rebates give beyond an invoice that is about to be closed; the caller holds the lock of the book.

    Every charge of the invoice is settled.

    Returns:
        Whether anything was taken back, and waits to be settled.
    """
    rows = list(InvoiceRollup.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id))
    beyond = -sum([row.gross for row in rows])
    given = _given(subscription, rows) if beyond > 0 else {}
    shares = discounts.shared_out(beyond, {key: totals.gross for key, totals in given.items()})
    if not shares:
        return False
    made = ForgoneRebate.objects.create(
        bucket=invoice.bucket,
        customer_id=invoice.customer_id,
        id=ids.derived(invoice.bucket, "rebate", invoice.id),
        subscription_id=subscription.id,
        invoice_id=invoice.id,
        amount=sum(shares.values()),
        created_at=now,
    )
    pots = charges.pots(subscription)
    for position, (key, share) in enumerate(shares.items()):
        charges.post(
            pots[key.wallet_id],
            subscription,
            discounts.taken_off(given[key], share, is_gross=True),
            kind=Charge.Kind.REBATE,
            source_id=made.id,
            position=position,
            price_version_id=key.price_version_id,
            metric_id=key.metric_id,
            invoice_id=invoice.id,
            period_start=key.period_start,
            now=now,
        )
    return True


def _given(subscription: Subscription, rows: list[InvoiceRollup]) -> Mapping[Sold, Totals]:
    """What each rebate gives on an invoice, above zero."""
    prices = PriceVersion.objects.in_bulk({row.price_version_id for row in rows})
    rebates = {key for key, price in prices.items() if is_rebate(parse_model(price.model, price.properties))}
    sums = issuing.sums(subscription, [row for row in rows if row.price_version_id in rebates])
    return {sold: Totals(-each.net, -each.tax, -each.gross, -each.fee) for sold, each in sums.items() if each.net < 0}
