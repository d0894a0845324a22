"""Top-ups: money that comes into a prepaid wallet."""

import uuid
from datetime import datetime
from enum import StrEnum

from django.db import transaction

from billing import journal, ledger, money, subscriptions, wallets
from billing.models import CreditLot, TopUp, Wallet
from customers import books
from merchants import idempotency, ids
from merchants.errors import Forbidden, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed
from merchants.models import Merchant, Mode

AMOUNT_MAX = 1_000_000 * money.NANOS


class Method(StrEnum):
    """What the built-in test processor is told to do; it moves no money outside."""

    TEST_SUCCESS = "test_success"
    TEST_DECLINE = "test_decline"


def top_up(
    *,
    merchant_id: uuid.UUID,
    wallet_id: uuid.UUID,
    amount: int,
    method: str = Method.TEST_SUCCESS,
    key: str | None = None,
) -> tuple[TopUp, bool]:
    """Add money to a prepaid wallet through the test processor, and start what waited for it.

    Args:
        amount: nanos; whole minor units of the wallet's currency.
        key: under the same key the first top-up is returned, and nothing is added again.

    Returns:
        The top-up, and whether it was made now.

    Raises:
        Forbidden: the merchant is live.
        NotFound: the merchant has no such wallet.
        Unprocessable: the wallet is not prepaid.
        ValidationFailed: the amount is none that can be paid.
        IdempotencyConflict: the key was used for another top-up.
    """
    if not Merchant.objects.filter(id=merchant_id, mode=Mode.TEST).exists():
        raise Forbidden("The test processor adds no money in live mode.", code="TEST_PROCESSOR_IN_LIVE_MODE")
    fingerprint = idempotency.fingerprint(wallet_id, amount, method)
    with transaction.atomic():
        named = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
        book, now = books.lock(named.bucket, named.customer_id)
        if key is not None and (first := _under_key(named, key)) is not None:
            if bytes(first.fingerprint or b"") != fingerprint:
                raise IdempotencyConflict()
            return first, False
        if book.closed_at is not None:
            raise NotFound()
        wallet = Wallet.objects.get(bucket=named.bucket, id=named.id)
        _check(wallet, amount)
        return _record(wallet, amount, method, key, fingerprint, now), True


def _under_key(wallet: Wallet, key: str) -> TopUp | None:
    query = TopUp.objects.filter(bucket=wallet.bucket, customer_id=wallet.customer_id, idempotency_key=key)
    return query.first()


def _check(wallet: Wallet, amount: int) -> None:
    if wallet.kind != Wallet.Kind.PREPAID:
        raise Unprocessable("Only a prepaid wallet can be topped up.", code="WALLET_NOT_PREPAID")
    unit = money.minor_unit(wallet.currency)
    if amount % unit or not 0 < amount <= AMOUNT_MAX:
        raise ValidationFailed(
            f"amount must be at least {money.from_nanos(unit, 0)} {wallet.currency}, a multiple of it, "
            f"and at most {money.from_nanos(AMOUNT_MAX, 0)}.",
            field="amount",
            code="INVALID_AMOUNT",
        )


def _record(wallet: Wallet, amount: int, method: str, key: str | None, fingerprint: bytes, now: datetime) -> TopUp:
    declined = method == Method.TEST_DECLINE
    made = TopUp.objects.create(
        bucket=wallet.bucket,
        id=ids.new(wallet.bucket),
        customer_id=wallet.customer_id,
        wallet_id=wallet.id,
        amount=amount,
        currency=wallet.currency,
        status=TopUp.Status.FAILED if declined else TopUp.Status.SUCCESS,
        method=method,
        idempotency_key=key,
        fingerprint=None if key is None else fingerprint,
        created_at=now,
    )
    if not declined:
        _credit(wallet, made, now)
        subscriptions.start_covered(bucket=wallet.bucket, customer_id=wallet.customer_id, now=now)
    return made


def _credit(wallet: Wallet, made: TopUp, now: datetime) -> None:
    CreditLot.objects.create(
        bucket=wallet.bucket,
        # The lot of a top-up has its id: money can be followed from the payment to what it paid for.
        id=made.id,
        customer_id=wallet.customer_id,
        wallet_id=wallet.id,
        kind=CreditLot.Kind.PAID,
        amount=made.amount,
        remaining=made.amount,
        effective_at=now,
        created_at=now,
    )
    wallet.balance += made.amount
    wallet.save(update_fields=["balance"])
    ledger.post([journal.top_up_received(top_up=made, now=now)])


def find(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID, top_up_id: uuid.UUID) -> TopUp:
    """Return a top-up of a wallet; raises NotFound."""
    made = wallets.top_ups_of(merchant_id=merchant_id, wallet_id=wallet_id).filter(id=top_up_id).first()
    if made is None:
        raise NotFound()
    return made
