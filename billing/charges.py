"""The charges that billing itself makes: numbered within their wallet, taken out of it, and queued for settlement.

The caller holds the lock of the customer's book.
"""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from billing import lapses, rating
from billing.models import Charge, Subscription, UnsettledWallet, Wallet

Pots = dict[uuid.UUID, Wallet]


class Sold(NamedTuple):
    """What charges are of: one price in one period, out of one wallet."""

    wallet_id: uuid.UUID
    price_version_id: uuid.UUID
    period_start: datetime
    metric_id: uuid.UUID | None


def pots(subscription: Subscription) -> Pots:
    """Return a subscription's two wallets, by id."""
    wanted = (subscription.prepaid_wallet_id, subscription.credit_wallet_id)
    return {wallet.id: wallet for wallet in Wallet.objects.filter(bucket=subscription.bucket, id__in=wanted)}


def funds(subscription: Subscription, now: datetime) -> Pots:
    """Return a subscription's two wallets as they can pay now, without credit whose time is up."""
    lapses.bring_up_to_date(subscription.bucket, subscription.customer_id, now)
    return pots(subscription)


def payer(subscription: Subscription, pots: Pots, gross: int, *, is_instant: bool) -> Wallet:
    """Choose who pays: the prepaid wallet for what is due at once and covered by it, else the credit wallet."""
    prepaid = pots[subscription.prepaid_wallet_id]
    covered = prepaid.available is not None and prepaid.available >= gross
    return prepaid if is_instant and covered else pots[subscription.credit_wallet_id]


def post(
    wallet: Wallet,
    subscription: Subscription,
    amounts: rating.Totals,
    *,
    kind: Charge.Kind,
    source_id: uuid.UUID,
    price_version_id: uuid.UUID,
    invoice_id: uuid.UUID,
    period_start: datetime,
    now: datetime,
    metric_id: uuid.UUID | None = None,
    quantity: Decimal = Decimal(0),
    position: int = 0,
) -> None:
    """Write one charge with its wallet's next number, and take it out of the wallet.

    It is made at ``now`` or, where that is what falls due earlier than it is noticed, when the charge before it was: so
    charges are found by when they were made (``billing.charge_reads``).
    """
    of_customer = {"bucket": subscription.bucket, "customer_id": subscription.customer_id}
    before = Charge.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id, seq=wallet.charge_seq)
    made_at = max([now, *before.values_list("created_at", flat=True)])
    wallet.charge_seq += 1
    wallet.spent += amounts.gross
    wallet.save(update_fields=["charge_seq", "spent"])
    Charge.objects.create(
        **of_customer,
        source_id=source_id,
        position=position,
        kind=kind,
        wallet_id=wallet.id,
        seq=wallet.charge_seq,
        subscription_id=subscription.id,
        price_version_id=price_version_id,
        metric_id=metric_id,
        invoice_id=invoice_id,
        period_start=period_start,
        quantity=quantity,
        created_at=made_at,
        **msgspec.structs.asdict(amounts),
    )
    waiting = UnsettledWallet(**of_customer, wallet_id=wallet.id, since=now)
    UnsettledWallet.objects.bulk_create([waiting], ignore_conflicts=True)
