"""Top-ups: money that comes into a prepaid wallet, by a payment of its own."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import transaction

from billing import auto_top_ups, followers, journal, lapses, ledger, lots, money, subscriptions, wallets, watching
from billing.models import Account, CreditLot, LotRemoval, PaymentAttempt, TopUp, Wallet
from billing.payments import attempts, cards, purposes
from billing.payments.purposes import Returns
from customers import books
from merchants import idempotency, ids, outbox
from merchants.errors import Forbidden, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed
from merchants.models import Merchant, Mode

AMOUNT_MAX = 1_000_000 * money.NANOS


class Method(StrEnum):
    """The cards of the built-in test provider that answer at once; it moves no money outside."""

    TEST_SUCCESS = cards.SUCCESS
    TEST_DECLINE = cards.DECLINE


def register() -> None:
    """Say what payments do to top-ups."""
    returns = Returns(pot=Account.Kind.CUSTOMER_CREDIT, withhold=_withhold, restore=_restore)
    purposes.register(PaymentAttempt.Purpose.TOPUP, succeeded=_succeeded, failed=_failed, returns=returns)


def top_up(
    *,
    merchant_id: uuid.UUID,
    wallet_id: uuid.UUID,
    amount: int,
    method: str = Method.TEST_SUCCESS,
    key: str | None = None,
) -> tuple[TopUp, bool]:
    """Add money to a prepaid wallet by a card of the test provider, and start what waited for it.

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
        RuntimeError: a transaction is open.
    """
    if not Merchant.objects.filter(id=merchant_id, mode=Mode.TEST).exists():
        raise Forbidden("The test processor adds no money in live mode.", code="TEST_PROCESSOR_IN_LIVE_MODE")
    attempts.ensure_no_transaction()
    fingerprint = idempotency.fingerprint(wallet_id, amount, method)
    with transaction.atomic():
        named = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
        book, now = books.lock(named.bucket, named.customer_id)
        made = None if key is None else _under_key(named, key)
        is_new = made is None
        if made is not None and bytes(made.fingerprint or b"") != fingerprint:
            raise IdempotencyConflict()
        if made is None:
            if book.closed_at is not None:
                raise NotFound()
            wallet = Wallet.objects.get(bucket=named.bucket, id=named.id)
            check(wallet, amount)
            made = write(wallet, amount=amount, method=method, key=key, fingerprint=fingerprint, now=now)
            begin(made, source=method, now=now)
    return pay(made), is_new


def _under_key(wallet: Wallet, key: str) -> TopUp | None:
    query = TopUp.objects.filter(bucket=wallet.bucket, customer_id=wallet.customer_id, idempotency_key=key)
    return query.first()


def check(wallet: Wallet, amount: int) -> None:
    """Refuse an amount that cannot be paid into a wallet; raises Unprocessable, ValidationFailed."""
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


def write(
    wallet: Wallet,
    *,
    amount: int,
    method: str,
    now: datetime,
    key: str | None = None,
    fingerprint: bytes | None = None,
    is_auto: bool = False,
) -> TopUp:
    """Write down a top-up that waits for its money; the caller holds the lock of the book."""
    return TopUp.objects.create(
        bucket=wallet.bucket,
        id=ids.new(wallet.bucket),
        customer_id=wallet.customer_id,
        wallet_id=wallet.id,
        amount=amount,
        currency=wallet.currency,
        status=TopUp.Status.PENDING,
        method=method,
        idempotency_key=key,
        fingerprint=None if key is None else fingerprint,
        is_auto=is_auto,
        created_at=now,
    )


def receive(wallet: Wallet, *, top_up_id: uuid.UUID, amount: int, method: str, now: datetime) -> TopUp:
    """Put money into a wallet that came in for something that does not wait for it any more.

    The caller holds the lock of the book.
    """
    made = TopUp.objects.create(
        bucket=wallet.bucket,
        id=top_up_id,
        customer_id=wallet.customer_id,
        wallet_id=wallet.id,
        amount=amount,
        currency=wallet.currency,
        status=TopUp.Status.SUCCESS,
        method=method,
        created_at=now,
    )
    _credit(wallet, made, now)
    subscriptions.start_covered(bucket=made.bucket, customer_id=made.customer_id, now=now)
    return made


def begin(made: TopUp, *, now: datetime, **how: Any) -> PaymentAttempt:
    """Begin the payment of a top-up, in the caller's transaction; ``how`` is what ``attempts.begin`` takes."""
    return attempts.begin(
        bucket=made.bucket,
        customer_id=made.customer_id,
        purpose=PaymentAttempt.Purpose.TOPUP,
        target_id=made.id,
        amount=made.amount,
        currency=made.currency,
        now=now,
        **how,
    )


def pay(made: TopUp) -> TopUp:
    """Hand a top-up's payment to its provider, unless somebody has; returns the top-up as it is then.

    Raises:
        RuntimeError: a transaction is open.
    """
    if made.status != TopUp.Status.PENDING:
        return made
    attempt = attempts.open_for(made.bucket, PaymentAttempt.Purpose.TOPUP, made.id)
    if attempt is not None:
        attempts.submit(attempt)
    return TopUp.objects.get(bucket=made.bucket, id=made.id)


def _succeeded(attempt: PaymentAttempt, now: datetime) -> None:
    made = TopUp.objects.get(bucket=attempt.bucket, id=attempt.target_id)
    made.status = TopUp.Status.SUCCESS
    made.save(update_fields=["status"])
    _credit(Wallet.objects.get(bucket=made.bucket, id=made.wallet_id), made, now)
    _tell("topup.succeeded.v0", made, attempt, now)
    if made.is_auto:
        auto_top_ups.ended(made, now)
    subscriptions.start_covered(bucket=made.bucket, customer_id=made.customer_id, now=now)


def _failed(attempt: PaymentAttempt, now: datetime) -> None:
    made = TopUp.objects.get(bucket=attempt.bucket, id=attempt.target_id)
    is_cancelled = attempt.state == PaymentAttempt.State.CANCELLED
    made.status = TopUp.Status.CANCELLED if is_cancelled else TopUp.Status.FAILED
    made.save(update_fields=["status"])
    if not is_cancelled:
        _tell("topup.failed.v0", made, attempt, now)
        followers.top_up_failed(made, attempt, now)
    if made.is_auto:
        auto_top_ups.ended(made, now)


def _tell(type: str, made: TopUp, attempt: PaymentAttempt, now: datetime) -> None:
    top_up_id = ids.text("top", made.id)
    data = {
        "id": top_up_id,
        "object": "topup",
        "merchantId": ids.text("org", attempt.merchant_id),
        "customerId": ids.text("cus", made.customer_id),
        "walletId": ids.text("acc", made.wallet_id),
        "amount": money.from_nanos(made.amount),
        "currency": made.currency,
        "status": made.status,
        "isAutoTopup": made.is_auto,
        "createdAt": outbox.instant(made.created_at),
    }
    if attempt.failure_code:
        data |= {"failureCode": attempt.failure_code, "failureReason": attempt.failure_message}
    outbox.record(
        merchant_id=attempt.merchant_id, type=type, data=data, object_id=top_up_id, now=now, bucket=made.bucket
    )


def _withhold(attempt: PaymentAttempt, amount: int, *, source_id: uuid.UUID, now: datetime) -> int:
    return take_back(attempt.bucket, attempt.target_id, amount, source_id, now)


def take_back(bucket: int, top_up_id: uuid.UUID, amount: int, source_id: uuid.UUID, now: datetime) -> int:
    """Take back what is left of a top-up's lot and of what the wallet has available, up to an amount.

    What was used is paid for first: or it would come out of credit, and the money of the lot go back.
    """
    wallet_id = CreditLot.objects.values_list("wallet_id", flat=True).get(bucket=bucket, id=top_up_id)
    wallet = lapses.brought_up_to_date(bucket, wallet_id, now)
    lot = CreditLot.objects.get(bucket=bucket, id=top_up_id)
    part: int = max(0, min(amount, lot.remaining, wallet.available or 0))
    if part:
        lots.remove(wallet, lot, part, reason=LotRemoval.Reason.REFUNDED, cause_id=source_id, now=now)
    return part


def _restore(attempt: PaymentAttempt, amount: int, *, source_id: uuid.UUID, now: datetime) -> None:
    put_back(attempt.bucket, attempt.target_id, amount, source_id, now)


def put_back(bucket: int, top_up_id: uuid.UUID, amount: int, source_id: uuid.UUID, now: datetime) -> None:
    """Put back what was taken out of a top-up's lot."""
    lot = CreditLot.objects.get(bucket=bucket, id=top_up_id)
    wallet = Wallet.objects.get(bucket=bucket, id=lot.wallet_id)
    cause_id = ids.derived(bucket, "restored", source_id)
    lots.remove(wallet, lot, -amount, reason=LotRemoval.Reason.REFUNDED, cause_id=cause_id, now=now)


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
    watching.rose(wallet)
    followers.topped_up(wallet, now)


def find(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID, top_up_id: uuid.UUID) -> TopUp:
    """Return a top-up of a wallet; raises NotFound."""
    made = wallets.top_ups_of(merchant_id=merchant_id, wallet_id=wallet_id).filter(id=top_up_id).first()
    if made is None:
        raise NotFound()
    return made
