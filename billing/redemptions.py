"""Redemptions: how a subscription gets a coupon's discount, and what an amount off takes off its invoices.

A percentage is pinned when a counter opens or a fee falls due, so it holds for whole periods: from the first one on in
which nothing was counted or charged yet. With a coupon that comes with the subscription itself that is the first; one
that is redeemed later usually starts with the next period. A subscription has one percentage at a time.

An amount is taken off when an invoice closes, before tax (or with it, where prices include it), from every charge in
proportion: so each tax rate bears its part. It never takes an invoice below zero. An amount that is given ``once`` is
taken off invoice by invoice until it is used up; one that is given for periods is given anew in each, and what a
period's charges do not take of it is lost. Several are taken off in the order they were redeemed.
"""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet, Sum

from billing import charges, cycles, discounts, issuing, subscription_reads
from billing.charges import Sold
from billing.models import (
    Charge,
    Counter,
    Coupon,
    CouponUse,
    FeeOccurrence,
    Invoice,
    InvoiceRollup,
    Redemption,
    Subscription,
)
from billing.rating import Totals
from customers import books
from merchants import ids
from merchants.errors import Conflict, NotFound, Unprocessable
from metering.periods import Period


class Redeemed(NamedTuple):
    """A redemption with its coupon, and in nanos what is left of an amount that is given once."""

    redemption: Redemption
    coupon: Coupon
    remaining: int | None
    is_new: bool = False


# --- redeeming -------------------------------------------------------------------------------------------


def of_subscription(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> list[Redeemed]:
    """Return what a subscription has redeemed, in that order.

    Raises:
        NotFound: the merchant has no such subscription.
    """
    subscription = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
    return [_redeemed(each) for each in _of(subscription)]


def redeem(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID, code: str) -> Redeemed:
    """Redeem a coupon for a subscription that has not ended; the second time is answered like the first.

    Raises:
        NotFound: the merchant has no such subscription or coupon.
        Unprocessable: the coupon has expired, or is for other plans or another currency.
        Conflict: the subscription has ended or has another percentage then, or the coupon was redeemed as often as
            it may be.
    """
    seen = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        subscription = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
        return apply(subscription, code, now)


def apply(subscription: Subscription, code: str, now: datetime) -> Redeemed:
    """Redeem a coupon for a subscription; the caller holds the lock of the book. Raises as ``redeem`` does."""
    coupon = Coupon.objects.filter(merchant_id=subscription.merchant_id, code=code, deleted_at=None).first()
    # The first answer is given again, also once the coupon is withdrawn; its code may be another one's by then.
    same = {"coupon__code": code} if coupon is None else {"coupon": coupon}
    known = _of(subscription).filter(**same).last()
    if known is not None:
        return _redeemed(known)
    if coupon is None:
        raise NotFound("There is no coupon with this code.", details={"field": "couponCode"})
    _check(coupon, subscription, now)
    span = _span(coupon, subscription, now)
    made = Redemption(
        bucket=subscription.bucket,
        id=ids.new(subscription.bucket),
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        coupon=coupon,
        starts_at=span[0],
        ends_at=span[1],
        created_at=now,
    )
    if coupon.percent_off is not None:
        _agree(subscription, coupon.percent_off, made)
    made.save(force_insert=True)
    _claim(coupon)  # last of all: whoever holds it keeps every other customer's redemption waiting
    return _redeemed(made)._replace(is_new=True)


def _of(subscription: Subscription) -> QuerySet[Redemption]:
    own = Redemption.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    return own.select_related("coupon").order_by("created_at", "id")


def _redeemed(redemption: Redemption) -> Redeemed:
    coupon = redemption.coupon
    is_used_up = coupon.amount_off is not None and coupon.duration == Coupon.Duration.ONCE
    remaining = coupon.amount_off - _used(redemption) if is_used_up and coupon.amount_off is not None else None
    return Redeemed(redemption, coupon, remaining)


def _used(redemption: Redemption) -> int:
    uses = CouponUse.objects.filter(bucket=redemption.bucket, redemption_id=redemption.id)
    return int(uses.aggregate(Sum("amount"))["amount__sum"] or 0)


def _check(coupon: Coupon, subscription: Subscription, now: datetime) -> None:
    if subscription.status == Subscription.Status.TERMINATED:
        raise Conflict("The subscription has ended.", code="ALREADY_TERMINATED")
    if coupon.expires_at is not None and coupon.expires_at <= now:
        raise Unprocessable("The coupon has expired.", code="COUPON_EXPIRED")
    if coupon.plan_id not in (None, subscription.plan_id) or coupon.product_id not in (None, subscription.product_id):
        raise Unprocessable("The coupon is for other plans.", code="COUPON_DOES_NOT_APPLY")
    if coupon.currency not in ("", subscription.currency):
        message = f"The coupon is in {coupon.currency}, the subscription in {subscription.currency}."
        raise Unprocessable(message, code="CURRENCY_MISMATCH")


def _span(coupon: Coupon, subscription: Subscription, now: datetime) -> tuple[datetime, datetime | None]:
    """When the periods that a coupon holds for begin and end."""
    first = cycles.period_of(subscription, max(now, subscription.started_at, subscription.trial_ends_at or now))
    if coupon.percent_off is not None and _has_begun(subscription, first):
        first = cycles.following(subscription, first)
    starts_at, last = first.start, first
    if subscription.status == Subscription.Status.PENDING_PAYMENT and subscription.trial_ends_at is None:
        starts_at = subscription.started_at  # a start in the past is not billed before today
    if coupon.periods is None:
        return starts_at, None
    for _ in range(coupon.periods - 1):
        last = cycles.following(subscription, last)
    return starts_at, last.end


def _has_begun(subscription: Subscription, period: Period) -> bool:
    """Tell whether anything of a period, or of one after it, was counted or charged."""
    of = {"bucket": subscription.bucket, "customer_id": subscription.customer_id, "subscription_id": subscription.id}
    counted = Counter.objects.filter(**of, period_end__gt=period.start)
    return counted.exists() or FeeOccurrence.objects.filter(**of, period_start__gte=period.start).exists()


def _agree(subscription: Subscription, percentage: Decimal, redemption: Redemption) -> None:
    """Write a percentage where the engine finds it; raises Conflict where another one holds in its time."""
    for other in _of(subscription).filter(coupon__percent_off__isnull=False):
        if (redemption.ends_at is None or other.starts_at < redemption.ends_at) and (
            other.ends_at is None or redemption.starts_at < other.ends_at
        ):
            raise Conflict(
                "The subscription has another percentage off in this time.",
                code="DISCOUNT_EXISTS",
                details={"couponId": ids.text("cpn", other.coupon_id)},
            )
    ends = redemption.ends_at and redemption.ends_at.isoformat()
    agreed = [f"{percentage.normalize():f}", redemption.starts_at.isoformat(), ends]
    subscription.discounts = [*(subscription.discounts or []), agreed]
    subscription.save(update_fields=["discounts"])


_CLAIM = """
INSERT INTO billing_couponclaim AS claim (merchant_id, coupon_id, redeemed, most) VALUES (%s, %s, 1, %s)
ON CONFLICT (merchant_id, coupon_id) DO UPDATE SET redeemed = claim.redeemed + 1
WHERE claim.most IS NULL OR claim.redeemed < claim.most
RETURNING redeemed
"""


def _claim(coupon: Coupon) -> None:
    """Count one more redemption, or refuse it: of two that race for the last one, one waits and then finds none."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [coupon.merchant_id, coupon.id, coupon.max_redemptions])
        if cursor.fetchone() is None:
            raise Conflict("The coupon was redeemed as often as it may be.", code="COUPON_EXHAUSTED")


# --- taking amounts off ----------------------------------------------------------------------------------


def take_off(subscription: Subscription, invoice: Invoice, now: datetime) -> bool:
    """Take amounts off an invoice that is about to be closed; the caller holds the lock of the book.

    Every charge of the invoice is settled. An additional invoice is of no period: only what is given once is taken off.

    Returns:
        Whether anything was taken off, and waits to be settled.
    """
    due = [
        each
        for each in _of(subscription).filter(coupon__amount_off__isnull=False)
        if each.starts_at <= invoice.period_start
        and (each.ends_at is None or invoice.period_start < each.ends_at)
        and (each.coupon.duration == Coupon.Duration.ONCE or not invoice.is_additional)
    ]
    if not due:
        return False
    charged = _charged(subscription, invoice)
    pots = charges.pots(subscription)
    taken = [_take(each, subscription, invoice, charged, pots, now) for each in due]
    return any(taken)


def _charged(subscription: Subscription, invoice: Invoice) -> dict[Sold, Totals]:
    """What an invoice's charges come to, by line, whatever kind they are."""
    rows = list(InvoiceRollup.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id))
    return issuing.sums(subscription, rows)


def _take(
    redemption: Redemption,
    subscription: Subscription,
    invoice: Invoice,
    charged: dict[Sold, Totals],
    pots: charges.Pots,
    now: datetime,
) -> bool:
    """Take one coupon's amount off what is left of the charges, which are changed; tell whether there was any."""
    coupon = redemption.coupon
    is_gross = cycles.prices_at(subscription, invoice.period_start).tax_behavior == "inclusive"
    bases = {key: each.gross if is_gross else each.net for key, each in charged.items()}
    left = coupon.amount_off or 0
    if coupon.duration == Coupon.Duration.ONCE:
        left -= _used(redemption)
    amount = min(left, sum(bases.values()))  # returns count: the invoice itself stays at zero or above
    shares = discounts.shared_out(amount, {key: base for key, base in bases.items() if base > 0})
    if not shares:
        return False
    made = CouponUse.objects.create(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        id=ids.derived(subscription.bucket, "coupon", redemption.id, invoice.id),
        redemption_id=redemption.id,
        invoice_id=invoice.id,
        amount=sum(shares.values()),
        created_at=now,
    )
    for position, (key, share) in enumerate(shares.items()):
        off = discounts.taken_off(charged[key], share, is_gross=is_gross)
        charges.post(
            pots[key.wallet_id],
            subscription,
            Totals(-off.net, -off.tax, -off.gross, -off.fee),
            kind=Charge.Kind.COUPON,
            source_id=made.id,
            position=position,
            price_version_id=key.price_version_id,
            metric_id=key.metric_id,
            invoice_id=invoice.id,
            period_start=key.period_start,
            now=now,
        )
        rest = charged[key]
        charged[key] = Totals(rest.net - off.net, rest.tax - off.tax, rest.gross - off.gross, rest.fee - off.fee)
    return True
