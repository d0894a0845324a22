"""Withdrawals: a customer takes back what they have not used of their own money.

Only money that was paid in goes back, never credit that was given away, and never what is held or spent. It leaves the
wallet, and the lots it lay in, as it is asked for: whoever spends at the same moment finds it gone, or the request
finds it spent. The merchant approves or rejects; a rejected one puts it back where it was.

Approved, it goes back to the cards that paid (``billing.payments.ways_back``), by refunds that have their own row, key
and end. What no card can take is paid by hand, and the merchant says when it was. A part that does not arrive is put
back into the wallet, once. A withdrawal has ended when all of its parts have: paid, if any of it arrived.
"""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing import journal, lapses, ledger, lots, money, told, wallets, watching
from billing.models import CreditLot, LotRemoval, PaymentRefund, Wallet, Withdrawal
from billing.payments import purposes, refunds, ways_back
from billing.payments.ways_back import Way
from customers import books
from merchants import audit, idempotency, ids
from merchants.audit import Actor
from merchants.errors import Conflict, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed

State, ByHand = Withdrawal.State, Withdrawal.ByHand
# What each state comes after.
_BEFORE = {
    State.APPROVED.value: State.REQUESTED,
    State.REJECTED.value: State.REQUESTED,
    State.CANCELLED.value: State.REQUESTED,
}


class NotWithdrawable(Unprocessable):
    """So much is not there to be taken back."""

    code = "EXCEEDS_WITHDRAWABLE"


class WithdrawalEnded(Conflict):
    """The withdrawal is not where this can be done to it."""

    code = "WITHDRAWAL_NOT_OPEN"


def register() -> None:
    """Have refunds tell the withdrawals that they are parts of how they ended."""
    purposes.register_withdrawals(_refunded)


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
        wallet = lapses.brought_up_to_date(seen.bucket, seen.id, now)
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
        ledger.post([journal.withdrawal_moved("requested", withdrawal=made, amount=amount, now=now)])
        watching.watch(wallet)
        _log(made, actor, "withdrawal.requested", now)
        told.withdrawal_requested(made, now)
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
    """Approve a withdrawal, say how what is paid by hand ended, or put its money back; once more changes nothing.

    Args:
        to: "approved", "rejected" or "cancelled", while it is only asked for; "paid" or "failed", once approved, of the
            part that is paid by hand.
        reason: why it was rejected or failed.
        reference: of the payment that was made.

    Raises:
        NotFound: the merchant has no such withdrawal.
        WithdrawalEnded: it is not where this can be done to it, or there is nothing to be paid by hand.
    """
    seen = find(merchant_id=merchant_id, withdrawal_id=withdrawal_id)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        made = Withdrawal.objects.get(bucket=seen.bucket, id=seen.id)
        if to == (made.state if to in _BEFORE or made.by_hand == ByHand.NONE else made.by_hand):
            return made
        if to == State.APPROVED and made.state == State.PAID:
            return made  # it was approved, and has come to its end since
        if to in _BEFORE:
            _decide(made, to, now)
        else:
            _settle_by_hand(made, to, now)
        made.reason, made.reference = reason or made.reason, reference or made.reference
        made.save(update_fields=["state", "reason", "reference", "to_cards", "by_hand", "returned", "resolved_at"])
        _log(made, actor, f"withdrawal.{to}", now)
        if made.resolved_at == now:
            told.withdrawal_resolved(made, now)
    return made


def search(
    *, merchant_id: uuid.UUID, wallet_id: uuid.UUID | None = None, state: str | None = None
) -> QuerySet[Withdrawal]:
    """Return withdrawals of a merchant's customers, from one wallet or in one state, newest first; raises NotFound."""
    rows = Withdrawal.objects.filter(merchant_id=merchant_id)
    if state is not None:
        rows = rows.filter(state=state)
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


def ways(made: Withdrawal, *, lock: bool = False) -> list[Way]:
    """Tell to which card payments a withdrawal would go back if it was approved now, and how much to each."""
    return ways_back.find(
        merchant_id=made.merchant_id,
        bucket=made.bucket,
        customer_id=made.customer_id,
        wallet_id=made.wallet_id,
        amount=made.amount,
        lock=lock,
    )


def refunds_of(made: Withdrawal) -> list[PaymentRefund]:
    """Return the refunds that a withdrawal goes back to cards by, in the order in which they were made."""
    return list(PaymentRefund.objects.filter(bucket=made.bucket, withdrawal_id=made.id).order_by("created_at", "id"))


def by_hand(made: Withdrawal) -> int:
    """Tell how many nanos of a withdrawal go to no card; 0 while nobody has approved it."""
    return 0 if made.by_hand == ByHand.NONE else made.amount - made.to_cards


def statement(made: Withdrawal) -> str:
    """Say in words where a withdrawal goes, and what is to be done about it; empty while nobody has approved it."""
    return " ".join([words for words in (_says_cards(made), _says_by_hand(made), _says_returned(made)) if words])


def _says_cards(made: Withdrawal) -> str:
    return f"{_said(made.to_cards, made)} goes back to the cards that paid." if made.to_cards else ""


def _says_by_hand(made: Withdrawal) -> str:
    amount = by_hand(made)
    match made.by_hand:
        case ByHand.DUE:
            return (
                f"{_said(amount, made)} cannot go back to a card: the card payments of this wallet were given back, "
                "are disputed or of another account, or do not come to so much. Pay it by hand, and say when it was."
            )
        case ByHand.PAID:
            return f"{_said(amount, made)} was paid by hand."
        case ByHand.FAILED:
            return f"{_said(amount, made)} could not be paid by hand."
    return ""


def _says_returned(made: Withdrawal) -> str:
    if not made.returned or made.state in (State.REJECTED, State.CANCELLED):
        return ""
    return f"{_said(made.returned, made)} could not be given back, and is in the wallet again."


def _said(amount: int, made: Withdrawal) -> str:
    return money.with_currency(amount, made.currency)


def _decide(made: Withdrawal, to: str, now: datetime) -> None:
    """Approve what is only asked for, or put all of it back."""
    if made.state != _BEFORE[to]:
        raise WithdrawalEnded(f"This withdrawal is {made.state}, and cannot become {to}.")
    made.state = State(to)
    if to == State.APPROVED:
        for way in ways(made, lock=True):
            refunds.begin_withdrawn(way.attempt, way.amount, withdrawal_id=made.id, now=now)
            made.to_cards += way.amount
        made.by_hand = ByHand.DUE if made.to_cards < made.amount else ByHand.NONE
    else:
        made.resolved_at = now
        _put_back(made, made.amount, None, now)


def _settle_by_hand(made: Withdrawal, to: str, now: datetime) -> None:
    """Say how the part ended that goes to no card."""
    if made.by_hand != ByHand.DUE:
        if made.state == State.APPROVED and made.by_hand == ByHand.NONE:
            raise WithdrawalEnded("All of this withdrawal goes back to cards: it ends when their refunds do.")
        raise WithdrawalEnded(f"This withdrawal is {made.state}: nothing of it waits to be paid by hand.")
    made.by_hand = ByHand(to)
    amount = by_hand(made)
    if to == ByHand.PAID:
        ledger.post([journal.withdrawal_moved("paid", withdrawal=made, amount=amount, now=now)])
    else:
        _put_back(made, amount, None, now)
    _conclude(made, now)


def _refunded(withdrawal_id: uuid.UUID, refund: PaymentRefund, now: datetime) -> None:
    """Put back what a card did not take, and end the withdrawal once all of it has ended; the book is locked.

    A bank may send back what had arrived, also after the withdrawal has ended.
    """
    made = Withdrawal.objects.get(bucket=refund.bucket, id=withdrawal_id)
    before = made.state, made.returned
    if refund.state == PaymentRefund.State.FAILED:
        _put_back(made, refund.amount, refund.id, now)
    _conclude(made, now)
    made.save(update_fields=["state", "returned", "resolved_at"])
    if made.resolved_at is not None and (made.state, made.returned) != before:
        told.withdrawal_resolved(made, now)


def _conclude(made: Withdrawal, now: datetime) -> None:
    waits = PaymentRefund.objects.filter(bucket=made.bucket, withdrawal_id=made.id).exclude(state__in=refunds.FINAL)
    if made.by_hand == ByHand.DUE or waits.exists():
        return
    made.state = State.FAILED if made.returned == made.amount else State.PAID
    made.resolved_at = made.resolved_at or now


def _put_back(made: Withdrawal, amount: int, refund_id: uuid.UUID | None, now: datetime) -> None:
    """Return a part of what was taken to the lots it lay in, which is done once for each part.

    Args:
        refund_id: the refund that failed; None for what is no refund.
    """
    wallet = Wallet.objects.get(bucket=made.bucket, id=made.wallet_id)
    part_id = refund_id or made.id
    left = amount
    for lot, room in _taken(made):
        if not left:
            break
        back = min(left, room)
        left -= back
        lots.remove(
            wallet, lot, -back, reason=LotRemoval.Reason.WITHDRAWN, cause_id=_returned(made.bucket, part_id), now=now
        )
    made.returned += amount
    ledger.post([journal.withdrawal_moved("returned", withdrawal=made, amount=amount, part_id=part_id, now=now)])
    watching.rose(wallet)


def _taken(made: Withdrawal) -> list[tuple[CreditLot, int]]:
    """Tell what of each lot is still taken by a withdrawal, in the order in which it was."""
    parts = [made.id, *[each.id for each in refunds_of(made)]]
    causes = [made.id, *[_returned(made.bucket, part) for part in parts]]
    taken: dict[uuid.UUID, int] = {}
    for removal in LotRemoval.objects.filter(bucket=made.bucket, cause_id__in=causes).order_by("created_at", "lot_id"):
        taken[removal.lot_id] = taken.get(removal.lot_id, 0) + removal.amount
    rows = {each.id: each for each in CreditLot.objects.filter(bucket=made.bucket, id__in=taken)}
    return [(rows[lot_id], room) for lot_id, room in taken.items() if room]


def _returned(bucket: int, part_id: uuid.UUID) -> uuid.UUID:
    return ids.derived(bucket, "withdrawal returned", part_id)


def _log(made: Withdrawal, actor: Actor, action: str, now: datetime) -> None:
    audit.append(
        merchant_id=made.merchant_id,
        actor=actor,
        action=action,
        target=ids.text("wd", made.id),
        changes={
            "wallet": ids.text("acc", made.wallet_id),
            "amount": money.from_nanos(made.amount),
            "toCards": money.from_nanos(made.to_cards),
        },
        now=now,
    )
