"""What one-off payments bring: earned when it comes in for what was asked, and given back from where it went.

What comes in when its payment has expired or was cancelled is not earned: it is put into the payer's wallet, where it
shows.
"""

import uuid
from datetime import datetime

from billing import journal, ledger, money, topups, wallets
from billing.models import Account, Payment, PaymentAttempt, TopUp
from billing.money import EXACT
from billing.payments import links, one_off, purposes, selling
from billing.payments.purposes import Returns
from merchants.errors import Conflict
from merchants.models import Merchant

LATE = "late_payment"  # how a wallet names money that came in when nothing waited for it any more

Status = Payment.Status


def register() -> None:
    """Say what payments do with their attempts."""
    returns = Returns(pot=Account.Kind.REVENUE, withhold=_withhold, restore=_restore)
    purposes.register(PaymentAttempt.Purpose.PAYMENT, succeeded=_succeeded, failed=_nothing, returns=returns)


def _nothing(attempt: PaymentAttempt, now: datetime) -> None:
    """The session of a payment says what becomes of it when an attempt failed."""


def _succeeded(attempt: PaymentAttempt, now: datetime) -> None:
    payment = Payment.objects.get(bucket=attempt.bucket, id=attempt.target_id)
    if _is_wanted(payment, now):
        _earn(payment, now)
        return
    if payment.status in (Status.PENDING, Status.PROCESSING):  # there is nothing left to sell for it
        one_off.back(payment, Status.CANCELLED, now)
    _put_into_wallet(payment, attempt.id, now)


def _is_wanted(payment: Payment, now: datetime) -> bool:
    """Tell whether money that came in still pays for what was asked; of a link it needs one of its uses."""
    if payment.status not in (Status.PENDING, Status.PROCESSING):
        return False
    if not selling.is_wanted(payment, now):
        return False
    if payment.link_id is not None and not payment.holds_use:  # given back when the attempt seemed to have failed
        try:
            links.take_use(payment.merchant_id, payment.link_id, now)
        except Conflict:
            return False
        payment.holds_use = True
    return True


def _earn(payment: Payment, now: datetime) -> None:
    rate = Merchant.objects.values_list("platform_fee_rate", flat=True).get(id=payment.merchant_id)
    payment.fee = money.round_nanos(EXACT.multiply(money.to_decimal(payment.amount), rate))
    payment.status, payment.completed_at, payment.updated_at = Status.COMPLETED, now, now
    payment.save(update_fields=["status", "completed_at", "fee", "holds_use", "updated_at"])
    ledger.post([journal.payment_received(payment=payment, now=now)])
    if payment.link_id is not None:
        links.use(payment.merchant_id, payment.link_id)
    selling.paid(payment, now)
    one_off.record("payment.completed.v0", payment, now)


def _put_into_wallet(payment: Payment, attempt_id: uuid.UUID, now: datetime) -> None:
    pot, _ = wallets.ensure_pots(
        bucket=payment.bucket, customer_id=payment.customer_id, currency=payment.currency, now=now
    )
    topups.receive(pot, top_up_id=attempt_id, amount=payment.amount, method=LATE, now=now)


def _withhold(attempt: PaymentAttempt, amount: int, *, source_id: uuid.UUID, now: datetime) -> int:
    """Take a payment back from the merchant, who earned it; the platform keeps its part.

    What was put into the payer's wallet is taken out of there first.
    """
    if not _is_in_wallet(attempt):
        return amount
    part = topups.take_back(attempt.bucket, attempt.id, amount, source_id, now)
    ledger.post([journal.late_payment_returned(attempt=attempt, amount=part, source_id=source_id, now=now)])
    return part


def _restore(attempt: PaymentAttempt, amount: int, *, source_id: uuid.UUID, now: datetime) -> None:
    if _is_in_wallet(attempt):
        topups.put_back(attempt.bucket, attempt.id, amount, source_id, now)
        ledger.post([journal.late_payment_returned(attempt=attempt, amount=-amount, source_id=source_id, now=now)])


def _is_in_wallet(attempt: PaymentAttempt) -> bool:
    return TopUp.objects.filter(bucket=attempt.bucket, id=attempt.id).exists()
