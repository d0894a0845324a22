"""What has to be paid before a subscription starts, and the session in which it is."""

from datetime import datetime
from typing import NamedTuple

from billing import fees, money
from billing.first_payments import INTO_BALANCE
from billing.models import PaymentSession, Subscription, Wallet
from billing.payments import sessions
from merchants.errors import ValidationFailed

# Card processors take no smaller payment: what has to be paid is lifted to it.
PAYMENT_MIN = money.NANOS
NAMED_MAX = 10  # fees that a first payment names one by one
MINIMUM_BALANCE_MAX = 5_000 * money.NANOS


class Due(NamedTuple):
    """The parts of a first payment, in nanos: for fees, and for the balance that the wallet shall have after them."""

    fees: int
    wallet: int
    tax: int | None = 0  # the part of the fees that is tax; None where some is, but the wallet pays a part of them
    each: tuple[tuple[str, int], ...] = ()  # of the fees, by name, before tax; empty where the wallet pays a part

    @property
    def total(self) -> int:
        return self.fees + self.wallet


NOTHING_DUE = Due(fees=0, wallet=0)


def due(subscription: Subscription) -> Due:
    """Return what has to be paid before a subscription may start, in whole minor units; nothing if it may start now.

    The wallet pays the fees first, and what it has left counts towards the minimum balance.
    """
    if subscription.trial_ends_at is not None:
        return NOTHING_DUE
    wallet = Wallet.objects.get(bucket=subscription.bucket, id=subscription.prepaid_wallet_id)
    free = wallet.available or 0
    each = fees.upfront(subscription)
    charged, tax = sum([totals.gross for _, totals in each]), sum([totals.tax for _, totals in each])
    lacking = charged + subscription.minimum_balance - free
    if lacking <= 0:
        return NOTHING_DUE
    payment = payable(lacking, subscription.currency)
    for_fees = max(0, charged - free)
    if for_fees < charged:
        return Due(fees=for_fees, wallet=payment - for_fees, tax=None if tax else 0)
    return Due(for_fees, payment - for_fees, tax, tuple((name, totals.net) for name, totals in each))


def payable(lacking: int, currency: str) -> int:
    """Return the least payment that covers so many nanos: whole minor units, and no less than a card is charged."""
    unit = money.minor_unit(currency)
    return max(PAYMENT_MIN, -(-lacking // unit) * unit)


def ask(subscription: Subscription, due: Due, now: datetime) -> PaymentSession:
    """Open the session in which a subscription's first payment is made, or say in the open one what is due by now.

    The caller holds the lock of the book.

    Raises:
        ValidationFailed: an address is not on a site that the merchant trusts.
    """
    urls = subscription.redirect_urls or {}
    if due.tax is None:
        of_fees = [("Fees, tax included", due.fees)]
    elif 0 < len(due.each) <= NAMED_MAX:
        of_fees = [*due.each, ("Tax", due.tax)]
    else:
        of_fees = [("Fees", due.fees - due.tax), ("Tax", due.tax)]
    parts = [*of_fees, (INTO_BALANCE, due.wallet)]
    return sessions.open(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        merchant_id=subscription.merchant_id,
        entity=PaymentSession.Entity.SUBSCRIPTION,
        entity_id=subscription.id,
        amount=due.total,
        currency=subscription.currency,
        breakdown=[(words, part) for words, part in parts if part],
        success_url=urls.get("onSuccess"),
        failure_url=urls.get("onFailure"),
        saves_method=subscription.auto_charge,  # it is what renewals and invoices are charged to
        expires_at=subscription.payment_expires_at or now,
        now=now,
    )


def close(subscription: Subscription, now: datetime, *, status: str = PaymentSession.Status.CANCELLED) -> None:
    """End the session of a subscription that needs no first payment any more; the caller holds the lock of the book."""
    sessions.close_for(PaymentSession.Entity.SUBSCRIPTION, subscription.id, now, status=status)


def session_of(subscription: Subscription) -> PaymentSession | None:
    """Return the session in which a subscription's first payment is made."""
    return sessions.latest(subscription.bucket, PaymentSession.Entity.SUBSCRIPTION, subscription.id)


def check_minimum_balance(nanos: int, field: str = "minimumAccountBalance") -> None:
    """Refuse a minimum balance that no wallet may be asked to keep; raises ValidationFailed."""
    if not 0 <= nanos <= MINIMUM_BALANCE_MAX:
        message = f"{field} may be at most {money.from_nanos(MINIMUM_BALANCE_MAX, 0)}."
        raise ValidationFailed(message, field=field, code="MINIMUM_BALANCE_TOO_LARGE")
