"""Withdrawals: a customer takes back what they have not used of their own money.

Only money that was paid in goes back, never credit that was given away, and never what is held or spent. It leaves the
wallet, and the lots it lay in, as it is asked for: whoever spends at the same moment finds it gone, or the request
finds it spent. The merchant approves or rejects; a rejected one puts it back where it was. Approved, it is paid by
hand, and the merchant says when it was.
"""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing import credits, journal, ledger, lots, money, wallets, watching
from billing.models import CreditLot, LotRemoval, Wallet, Withdrawal
from customers import books
from merchants import audit, idempotency, ids
from merchants.audit import Actor
from merchants.errors import Conflict, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed

State = Withdrawal.State
# What each state comes after.
_BEFORE = {
    State.APPROVED.value: State.REQUESTED,
    State.REJECTED.value: State.REQUESTED,
    State.CANCELLED.value: State.REQUESTED,
    State.PAID.value: State.APPROVED,
    State.FAILED.value: State.APPROVED,
}
_PUT_BACK = (State.REJECTED, State.CANCELLED, State.FAILED)


class NotWithdrawable(Unprocessable):
    """So much is not there to be taken back."""

    code = "EXCEEDS_WITHDRAWABLE"


class WithdrawalEnded(Conflict):
    """The withdrawal is not where this can be done to it."""

    code = "WITHDRAWAL_NOT_OPEN"


def request(
    *,
    merchant_id: uuid.UUID,
    wallet_id: uuid.UUID,
    amount: int,
    note: str = "",
    key: str | None = None,
    actor: Actor,
) -> tuple[Withdrawal, bool]:
    """Take money out of a wallet on its way back to the customer.

    Args:
        amount: nanos, whole minor units.
        key: under the same key the first withdrawal is returned, and nothing is taken again.

    Returns:
        The withdrawal, and whether it was made now.

    Raises:
        NotFound: the merchant has no such wallet.
        NotWithdrawable: so much is not there of what was paid in and is neither used nor held.
        Unprocessable: the wallet is not prepaid.
        ValidationFailed: the amount is none that can be paid.
        IdempotencyConflict: the key was used for another withdrawal.
    """
    seen = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
    fingerprint = idempotency.fingerprint(wallet_id, amount, note)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        first = None if key is None else _under_key(seen, key)
        if first is not None:
            if bytes(first.fingerprint or b"") != fingerprint:
                raise IdempotencyConflict()
            return first, False
        wallet = credits.brought_up_to_date(seen.bucket, seen.id, now)
        _check(wallet, amount)
        made = Withdrawal.objects.create(
            bucket=wallet.bucket,
            id=ids.new(wallet.bucket),
            customer_id=wallet.customer_id,
            merchant_id=merchant_id,
            wallet_id=wallet.id,
            amount=amount,
            currency=wallet.currency,
            state=State.REQUESTED,
            note=note,
            idempotency_key=key,
            fingerprint=None if key is None else fingerprint,
            created_at=now,
        )
        for lot, part in _parts(wallet, amount):
            lots.remove(wallet, lot, part, reason=LotRemoval.Reason.WITHDRAWN, cause_id=made.id, now=now)
        ledger.post([journal.withdrawal_moved("requested", withdrawal=made, now=now)])
        watching.watch(wallet)
        _log(made, actor, "withdrawal.requested", now)
    return made, True


def withdrawable(wallet: Wallet) -> int:
    """Tell how many nanos of a wallet could be taken back now, in whole minor units.

    What was charged in the last seconds may lessen it: the request itself settles that first.
    """
    if wallet.kind != Wallet.Kind.PREPAID:
        return 0
    free = min(sum(part for _, part in _free(wallet)), max(0, wallet.available or 0))
    return free - free % money.minor_unit(wallet.currency)


def move(
    *,
    merchant_id: uuid.UUID,
    withdrawal_id: uuid.UUID,
    to: str,
    reason: str = "",
    reference: str = "",
    actor: Actor,
) -> Withdrawal:
    """Approve a withdrawal, say that it was paid, or put its money back into the wallet; once more changes nothing.

    Args:
        to: "approved", "rejected" or "cancelled", while it is only asked for; "paid" or "failed", once approved.
        reason: why it was rejected or failed.
        reference: of the payment that was made.

    Raises:
        NotFound: the merchant has no such withdrawal.
        WithdrawalEnded: it is not where this can be done to it.
    """
    seen = find(merchant_id=merchant_id, withdrawal_id=withdrawal_id)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        made = Withdrawal.objects.get(bucket=seen.bucket, id=seen.id)
        if made.state == to:
            return made
        if made.state != _BEFORE[to]:
            raise WithdrawalEnded(f"This withdrawal is {made.state}, and cannot become {to}.")
        made.state = State(to)
        made.reason, made.reference = reason, reference
        made.resolved_at = None if to == State.APPROVED else now
        made.save(update_fields=["state", "reason", "reference", "resolved_at"])
        if to in _PUT_BACK:
            _put_back(made, now)
        elif to == State.PAID:
            ledger.post([journal.withdrawal_moved("paid", withdrawal=made, now=now)])
        _log(made, actor, f"withdrawal.{to}", now)
    return made


def search(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID | None = None) -> QuerySet[Withdrawal]:
    """Return the withdrawals of a merchant's customers, or from one wallet, newest first; raises NotFound."""
    rows = Withdrawal.objects.filter(merchant_id=merchant_id)
    if wallet_id is not None:
        wallet = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
        rows = rows.filter(bucket=wallet.bucket, wallet_id=wallet.id)
    return rows.order_by("-created_at", "-id")


def find(*, merchant_id: uuid.UUID, withdrawal_id: uuid.UUID) -> Withdrawal:
    """Return a withdrawal of a merchant's customer; raises NotFound."""
    query = Withdrawal.objects.filter(bucket=ids.bucket_of(withdrawal_id), id=withdrawal_id, merchant_id=merchant_id)
    made = query.first()
    if made is None:
        raise NotFound()
    return made


# --- taking it out ---------------------------------------------------------------------------------------


def _under_key(wallet: Wallet, key: str) -> Withdrawal | None:
    query = Withdrawal.objects.filter(bucket=wallet.bucket, customer_id=wallet.customer_id, idempotency_key=key)
    return query.first()


def _check(wallet: Wallet, amount: int) -> None:
    if wallet.kind != Wallet.Kind.PREPAID:
        raise Unprocessable("Only from a prepaid wallet can money be taken back.", code="WALLET_NOT_PREPAID")
    unit = money.minor_unit(wallet.currency)
    if amount <= 0 or amount % unit:
        message = f"amount must be at least {money.from_nanos(unit, 0)} {wallet.currency}, and a multiple of it."
        raise ValidationFailed(message, field="amount", code="INVALID_AMOUNT")
    if amount > (most := withdrawable(wallet)):
        raise NotWithdrawable(
            f"Of this wallet {money.from_nanos(most)} {wallet.currency} can be taken back: what was paid in, and is "
            "neither used nor held.",
            details={"withdrawable": money.from_nanos(most), "currency": wallet.currency},
        )


def _free(wallet: Wallet) -> list[tuple[CreditLot, int]]:
    """Tell what of each lot that was paid for nothing holds, in the order in which lots are drawn."""
    covered = wallet.held + max(0, wallet.spent)
    free = []
    for lot in lots.in_order(wallet):
        part = min(covered, lot.remaining)
        covered -= part
        if lot.kind == CreditLot.Kind.PAID and lot.remaining > part:
            free.append((lot, lot.remaining - part))
    return free


def _parts(wallet: Wallet, amount: int) -> list[tuple[CreditLot, int]]:
    """Take an amount from the lots that would be drawn last."""
    parts = []
    for lot, free in reversed(_free(wallet)):
        if not amount:
            break
        part = min(amount, free)
        parts.append((lot, part))
        amount -= part
    return parts


# --- what becomes of it ----------------------------------------------------------------------------------


def _put_back(made: Withdrawal, now: datetime) -> None:
    """Return what was taken to the lots it lay in."""
    wallet = Wallet.objects.get(bucket=made.bucket, id=made.wallet_id)
    cause_id = ids.derived(made.bucket, "withdrawal returned", made.id)
    for removal in LotRemoval.objects.filter(bucket=made.bucket, cause_id=made.id):
        lot = CreditLot.objects.get(bucket=made.bucket, id=removal.lot_id)
        lots.remove(wallet, lot, -removal.amount, reason=LotRemoval.Reason.WITHDRAWN, cause_id=cause_id, now=now)
    ledger.post([journal.withdrawal_moved("returned", withdrawal=made, now=now)])
    watching.rose(wallet)


def _log(made: Withdrawal, actor: Actor, action: str, now: datetime) -> None:
    audit.append(
        merchant_id=made.merchant_id,
        actor=actor,
        action=action,
        target=ids.text("wd", made.id),
        changes={"wallet": ids.text("acc", made.wallet_id), "amount": money.from_nanos(made.amount)},
        now=now,
    )
