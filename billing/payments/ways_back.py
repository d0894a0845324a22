"""Ways back: the card payments that filled a wallet, and how much of each can still go back to its card."""

import uuid
from dataclasses import dataclass

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from billing.models import PaymentAttempt, PaymentDispute, ProviderCode, TopUp
from billing.payments import accounts, providers

WAYS_MAX = 50  # payments that one withdrawal goes back to: what is left after them is paid by hand


@dataclass(frozen=True, slots=True)
class Way:
    """A payment, and what of an amount goes back to its card, in nanos."""

    attempt: PaymentAttempt
    amount: int


def find(
    *,
    merchant_id: uuid.UUID,
    bucket: int,
    customer_id: uuid.UUID,
    wallet_id: uuid.UUID,
    amount: int,
    lock: bool = False,
) -> list[Way]:
    """Choose the payments that an amount out of a wallet goes back to: the newest first, each for what is left of it.

    Left is what came in, less what was given back or is on its way there. A payment that is disputed, or was, and not
    won, is left out: its payer's bank has decided about it, or will. So is one that another account of the provider
    took than the one that is connected.

    Args:
        amount: nanos.
        lock: hold the payments until the transaction ends; the caller holds the lock of the book.
    """
    rows = _payments(merchant_id, bucket, customer_id, wallet_id)
    if lock:
        rows = rows.select_for_update(of=("self",))
    ways = []
    for attempt in rows[:WAYS_MAX]:
        part = providers.movable(min(amount, attempt.amount - attempt.refunded), attempt.currency, attempt.provider)
        if part:
            ways.append(Way(attempt, part))
            amount -= part
    return ways


def _payments(
    merchant_id: uuid.UUID, bucket: int, customer_id: uuid.UUID, wallet_id: uuid.UUID
) -> QuerySet[PaymentAttempt]:
    top_ups = TopUp.objects.filter(bucket=bucket, wallet_id=wallet_id).values("id")
    disputes = PaymentDispute.objects.filter(bucket=bucket, attempt_id=OuterRef("id"))
    rows = PaymentAttempt.objects.filter(
        # A payment that came too late for what it was for is a top-up of its own id.
        Q(purpose=PaymentAttempt.Purpose.TOPUP, target_id__in=top_ups) | Q(id__in=top_ups),
        bucket=bucket,
        customer_id=customer_id,
        state=PaymentAttempt.State.SUCCEEDED,
        refunded__lt=F("amount"),
    ).filter(accounts.usable(merchant_id))
    rows = rows.exclude(provider=ProviderCode.RECORDED).exclude(provider_ref="")
    rows = rows.exclude(Exists(disputes.exclude(state=PaymentDispute.State.WON)))
    return rows.order_by("-created_at", "-id")
