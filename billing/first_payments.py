"""First payments of subscriptions, as their first invoices tell of them.

A first payment goes into the wallet, and what it was for is drawn from there at once. So the part of it that was for
fees has paid them by card; the rest stays the payer's balance.
"""

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple, Protocol

from billing.models import Charge, Invoice, PaymentAttempt, PaymentSession, Subscription
from billing.payments import sessions

INTO_BALANCE = "Into your balance"  # how a page names the part of a payment that stays the payer's


class ByCard(NamedTuple):
    """What of an invoice's fees a card has paid as the subscription began, in nanos, and when it came in."""

    amount: int
    at: datetime


class Line(Protocol):
    """A line of an invoice, or a sum of charges that will be one."""

    @property
    def kind(self) -> str: ...
    @property
    def wallet_id(self) -> uuid.UUID: ...
    @property
    def gross(self) -> int: ...


def among(attempts: Collection[PaymentAttempt]) -> set[uuid.UUID]:
    """Return the ids of those card payments that subscriptions began with."""
    named = {attempt.session_id: attempt.bucket for attempt in attempts if attempt.session_id is not None}
    if not named:
        return set()
    begun = PaymentSession.objects.filter(
        bucket__in=set(named.values()), id__in=named, entity=PaymentSession.Entity.SUBSCRIPTION
    )
    found = set(begun.values_list("id", flat=True))
    return {attempt.id for attempt in attempts if attempt.session_id in found}


def by_card(subscription: Subscription, invoice: Invoice, lines: Iterable[Line]) -> ByCard | None:
    """Tell what of the fees on a subscription's first invoice was paid at checkout, through the wallet; None: nothing.

    What was paid into the balance besides is drawn from it, and is not told.
    """
    pot = subscription.prepaid_wallet_id
    charged = sum([line.gross for line in lines if line.kind == Charge.Kind.FEE and line.wallet_id == pot])
    invoices = Invoice.objects.filter(bucket=invoice.bucket, subscription_id=invoice.subscription_id)
    if charged <= 0 or invoices.filter(period_start__lt=invoice.period_start).exists():
        return None
    session = sessions.latest(subscription.bucket, PaymentSession.Entity.SUBSCRIPTION, subscription.id)
    if session is None or session.completed_at is None:
        return None
    paid = sum([int(part) for words, part in session.breakdown if words != INTO_BALANCE])
    return ByCard(min(charged, paid), session.completed_at) if paid else None
