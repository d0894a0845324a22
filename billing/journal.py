"""The chart of accounts, as functions: each builds one kind of ledger entry, and nothing else builds any.

A posting moves an amount from the account it debits to the account it credits; an account's balance is what it was
credited less what it was debited. So a customer's credit is positive, and what a customer owes is negative:

- prepaid wallet = customer_credit + promotional_credit. Money comes in from ``clearing`` and is earned from
  customer_credit. What a merchant gives away comes from ``promotions``, which says what that has cost so far, and
  becomes customer_credit as it is used; what expires goes to ``breakage``.
- credit wallet = unbilled + receivable. Use is earned from ``unbilled``; an invoice moves the debt to ``receivable``,
  so issuing one does not free the credit limit.
- ``clearing`` is what providers hold for us, ``in_transit`` what is on its way back to payers, ``disputed`` what
  payers' banks hold until they decide, and ``losses`` what they kept after it was spent. ``provider_fees`` is what
  providers have taken. What they settle in another currency goes through ``exchange``: out of clearing in the one
  currency, into it in the other.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from billing.models import (
    Account,
    CreditLot,
    CreditNote,
    Invoice,
    InvoicePayment,
    LotRemoval,
    Payment,
    PaymentAttempt,
    PaymentDispute,
    PaymentRefund,
    Payout,
    ProviderLine,
    TopUp,
    Wallet,
    Withdrawal,
)

Kind = Account.Kind

# Where a wallet's charges are earned from.
POT = {Wallet.Kind.PREPAID.value: Kind.CUSTOMER_CREDIT, Wallet.Kind.CREDIT.value: Kind.UNBILLED}
# The accounts whose balances make up a wallet's.
WALLET_ACCOUNTS = {
    Wallet.Kind.PREPAID.value: (Kind.CUSTOMER_CREDIT, Kind.PROMOTIONAL_CREDIT),
    Wallet.Kind.CREDIT.value: (Kind.UNBILLED, Kind.RECEIVABLE),
}
# Where the credit of a kind of lot lies until it is used.
LOT_ACCOUNTS = {"paid": Kind.CUSTOMER_CREDIT, "promotional": Kind.PROMOTIONAL_CREDIT}
_REMOVED = {"expired": ("credit_expired", Kind.BREAKAGE), "voided": ("credit_voided", Kind.PROMOTIONS)}


class Movement(NamedTuple):
    """A positive amount on its way from one account to another."""

    debit: Kind
    credit: Kind
    amount: int


class Earned(NamedTuple):
    """What charges brought, by whose it is: net less the platform's fee, that fee, and tax. In nanos, signed."""

    revenue: int
    platform_fee: int
    tax: int

    @property
    def gross(self) -> int:
        return self.revenue + self.platform_fee + self.tax


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """One business fact, ready to be written once under its key."""

    customer_id: uuid.UUID
    currency: str
    kind: str
    key: str
    reference_id: uuid.UUID
    movements: tuple[Movement, ...]
    created_at: datetime


def top_up_received(*, top_up: TopUp, now: datetime) -> NewEntry:
    """Money came in and is the customer's to spend."""
    movements = _moved((Kind.CLEARING, Kind.CUSTOMER_CREDIT, top_up.amount))
    return _about(top_up, top_up.customer_id, "top_up_received", f"top_up:{top_up.id.hex}", movements, now)


def credit_granted(*, lot: CreditLot, currency: str, now: datetime) -> NewEntry:
    """A merchant gave credit away."""
    return NewEntry(
        customer_id=lot.customer_id,
        currency=currency,
        kind="credit_granted",
        key=f"credit:{lot.id.hex}",
        reference_id=lot.id,
        movements=_moved((Kind.PROMOTIONS, Kind.PROMOTIONAL_CREDIT, lot.amount)),
        created_at=now,
    )


def credit_removed(*, lot: CreditLot, removal: LotRemoval, currency: str, now: datetime) -> NewEntry:
    """Nobody used it in time, or a merchant took back what was left of credit that was given away."""
    kind, to = _REMOVED[removal.reason]
    return NewEntry(
        customer_id=lot.customer_id,
        currency=currency,
        kind=kind,
        key=f"{kind}:{removal.cause_id.hex}",
        reference_id=lot.id,
        movements=_moved((LOT_ACCOUNTS[lot.kind], to, removal.amount)),
        created_at=now,
    )


def payment_received(*, payment: Payment, now: datetime) -> NewEntry:
    """Money that was asked for once came in, and is the merchant's but for the platform's part."""
    movements = _moved(
        (Kind.CLEARING, Kind.REVENUE, payment.amount - payment.fee), (Kind.CLEARING, Kind.PLATFORM_FEE, payment.fee)
    )
    return _about(payment, payment.customer_id, "payment_received", f"payment:{payment.id.hex}", movements, now)


def late_payment_returned(*, attempt: PaymentAttempt, amount: int, source_id: uuid.UUID, now: datetime) -> NewEntry:
    """What came in too late leaves the payer's wallet on its way back, or returns there (below zero)."""
    return NewEntry(
        customer_id=attempt.customer_id,
        currency=attempt.currency,
        kind="late_payment_returned",
        key=f"late:{source_id.hex}:{'out' if amount > 0 else 'in'}",
        reference_id=source_id,
        movements=_moved((Kind.CUSTOMER_CREDIT, Kind.REVENUE, amount)),
        created_at=now,
    )


# A customer's own money is on its way back to them, is theirs to spend again, or has reached them.
_WITHDRAWAL = {
    "requested": (Kind.CUSTOMER_CREDIT, Kind.IN_TRANSIT),
    "returned": (Kind.IN_TRANSIT, Kind.CUSTOMER_CREDIT),
    "paid": (Kind.IN_TRANSIT, Kind.CLEARING),
}
# A part of a merchant's balance is on its way to them, has left what providers hold for us, or came back.
_PAYOUT = {
    "begun": (Kind.PAYABLE, Kind.IN_TRANSIT),
    "arrived": (Kind.IN_TRANSIT, Kind.CLEARING),
    "failed": (Kind.IN_TRANSIT, Kind.PAYABLE),
}


def withdrawal_moved(
    what: str, *, withdrawal: Withdrawal, amount: int, part_id: uuid.UUID | None = None, now: datetime
) -> NewEntry:
    """What a customer takes back was requested, or a part of it returned or paid by hand.

    Args:
        part_id: the refund that was to give that part back to a card; None for what is no refund.
    """
    kind = f"withdrawal_{what}"
    key = f"{kind}:{(part_id or withdrawal.id).hex}"
    return _about(withdrawal, withdrawal.customer_id, kind, key, _moved((*_WITHDRAWAL[what], amount)), now)


def payout_moved(what: str, *, payout: Payout, book_id: uuid.UUID, now: datetime) -> NewEntry:
    """A payout has begun, arrived or failed, in the merchant's own book."""
    kind = f"payout_{what}"
    return _about(payout, book_id, kind, f"{kind}:{payout.id.hex}", _moved((*_PAYOUT[what], payout.amount)), now)


def _about(
    what: TopUp | Payment | CreditNote | Withdrawal | Payout | PaymentRefund | PaymentDispute | ProviderLine,
    book_id: uuid.UUID,
    kind: str,
    key: str,
    movements: tuple[Movement, ...],
    now: datetime,
) -> NewEntry:
    return NewEntry(
        customer_id=book_id,
        currency=what.currency,
        kind=kind,
        key=key,
        reference_id=what.id,
        movements=movements,
        created_at=now,
    )


def usage_settled(
    *,
    customer_id: uuid.UUID,
    currency: str,
    wallet_id: uuid.UUID,
    wallet_kind: str,
    first_seq: int,
    settlement_id: uuid.UUID,
    charged: Earned,
    returned: Earned,
    promotional: int = 0,
    now: datetime,
) -> NewEntry:
    """A range of a wallet's charges was earned.

    Args:
        charged: the sums of the charges above or at zero.
        returned: the sums of those below zero; posted apart, so that the ledger shows both ways money went.
        promotional: what of them came out of promotional credit, in nanos; negative where more was given back to it.
    """
    pot = POT[wallet_kind]
    return NewEntry(
        customer_id=customer_id,
        currency=currency,
        kind="usage_settled",
        key=f"settlement:{wallet_id.hex}:{first_seq}",
        reference_id=settlement_id,
        movements=_moved(
            *_shared_out(pot, charged), *_shared_out(pot, returned), (Kind.PROMOTIONAL_CREDIT, pot, promotional)
        ),
        created_at=now,
    )


def invoice_issued(*, invoice: Invoice, owed: int, rounding: int, now: datetime) -> NewEntry:
    """What was used on credit became due, in whole minor units.

    Args:
        owed: the exact sum of the invoice's charges on credit; negative where returns outweigh them.
        rounding: what whole minor units add to it, or take away.
    """
    return NewEntry(
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        kind="invoice_issued",
        key=f"invoice:{invoice.id.hex}",
        reference_id=invoice.id,
        movements=_moved((Kind.RECEIVABLE, Kind.UNBILLED, owed), (Kind.RECEIVABLE, Kind.ROUNDING, rounding)),
        created_at=now,
    )


def credit_note_issued(*, note: CreditNote, now: datetime) -> NewEntry:
    """What a credit note gives back comes off the debt of its invoice, in whole minor units.

    Its charges have moved the exact amount from what was earned to ``unbilled``.
    """
    exact = note.to_receivable - note.rounding
    movements = _moved((Kind.UNBILLED, Kind.RECEIVABLE, exact), (Kind.ROUNDING, Kind.RECEIVABLE, note.rounding))
    return _about(note, note.customer_id, "credit_note_issued", f"credit_note:{note.id.hex}", movements, now)


def refund_begun(*, refund: PaymentRefund, pot: Kind, now: datetime) -> NewEntry:
    """A part of a payment was taken out of what it was paid for, and is on its way back to its payer.

    What the customer had spent of it, where the provider did not ask us first, is a loss.
    """
    unspent = (pot, Kind.IN_TRANSIT, refund.amount - refund.spent)
    return _of_refund(refund, "begun", _moved(unspent, (Kind.LOSSES, Kind.IN_TRANSIT, refund.spent)), now)


def refund_arrived(*, refund: PaymentRefund, now: datetime) -> NewEntry:
    """The provider gave it back."""
    return _of_refund(refund, "arrived", _moved((Kind.IN_TRANSIT, Kind.CLEARING, refund.amount)), now)


def refund_returned(*, refund: PaymentRefund, now: datetime) -> NewEntry:
    """It had been given back, and came back from there after all."""
    return _of_refund(refund, "returned", _moved((Kind.CLEARING, Kind.IN_TRANSIT, refund.amount)), now)


def refund_failed(*, refund: PaymentRefund, pot: Kind, now: datetime) -> NewEntry:
    """It could not be given back, and is what it was paid for again."""
    unspent = (Kind.IN_TRANSIT, pot, refund.amount - refund.spent)
    return _of_refund(refund, "failed", _moved(unspent, (Kind.IN_TRANSIT, Kind.LOSSES, refund.spent)), now)


def _of_refund(refund: PaymentRefund, what: str, movements: tuple[Movement, ...], now: datetime) -> NewEntry:
    key = f"refund:{refund.id.hex}:{what}"
    return _about(refund, refund.customer_id, f"refund_{what}", key, movements, now)


def dispute_opened(*, dispute: PaymentDispute, pot: Kind | None, now: datetime) -> NewEntry:
    """The payer's bank took a payment back until it decides; what the customer had not spent of it is kept from them.

    Args:
        pot: the account the withheld part is taken from; None where nothing is withheld.
    """
    taken = (Kind.DISPUTED, Kind.CLEARING, dispute.amount)
    kept = () if pot is None else ((pot, Kind.DISPUTED, dispute.withheld),)
    return _of_dispute(dispute, "opened", _moved(taken, *kept), now)


def dispute_won(*, dispute: PaymentDispute, pot: Kind | None, now: datetime) -> NewEntry:
    """The payer's bank gave the payment back, and it is what it was paid for again."""
    given = (Kind.CLEARING, Kind.DISPUTED, dispute.amount)
    freed = () if pot is None else ((Kind.DISPUTED, pot, dispute.withheld),)
    return _of_dispute(dispute, "won", _moved(given, *freed), now)


def dispute_lost(*, dispute: PaymentDispute, now: datetime) -> NewEntry:
    """The payer's bank kept the payment: what the customer had spent of it is the merchant's loss."""
    lost = (Kind.LOSSES, Kind.DISPUTED, dispute.amount - dispute.withheld)
    return _of_dispute(dispute, "lost", _moved(lost), now)


def provider_line(*, line: ProviderLine, now: datetime) -> list[NewEntry]:
    """A provider took its fee, or gave it back; and what it settled in another currency is held in that one."""
    fee = (Kind.PROVIDER_FEES, Kind.CLEARING, line.fee)
    if line.currency == line.charged_currency:
        return [_of_line(line, line.currency, "provider_fee", _moved(fee), now)]
    settled, charged = (Kind.CLEARING, Kind.EXCHANGE, line.amount), (Kind.EXCHANGE, Kind.CLEARING, line.charged)
    return [
        _of_line(line, line.charged_currency, "exchanged", _moved(charged), now),
        _of_line(line, line.currency, "provider_fee", _moved(settled, fee), now),
    ]


def _of_line(line: ProviderLine, currency: str, kind: str, movements: tuple[Movement, ...], now: datetime) -> NewEntry:
    entry = _about(line, line.customer_id, kind, f"{kind}:{line.id.hex}", movements, now)
    return replace(entry, currency=currency)


def _of_dispute(dispute: PaymentDispute, what: str, movements: tuple[Movement, ...], now: datetime) -> NewEntry:
    key = f"dispute:{dispute.id.hex}:{what}"
    return _about(dispute, dispute.customer_id, f"dispute_{what}", key, movements, now)


# Where the money of a payment comes from.
_PAID_FROM = {
    InvoicePayment.Kind.WALLET.value: Kind.CUSTOMER_CREDIT,
    InvoicePayment.Kind.CARD.value: Kind.CLEARING,
    InvoicePayment.Kind.OUTSIDE.value: Kind.OUTSIDE,
}


def invoice_paid(*, payment: InvoicePayment, promotional: int, now: datetime) -> NewEntry:
    """What was owed on an invoice, or a part of it, was paid; ``promotional`` of it with credit given away."""
    return NewEntry(
        customer_id=payment.customer_id,
        currency=payment.currency,
        kind="invoice_paid",
        key=f"invoice_payment:{payment.id.hex}",
        reference_id=payment.id,
        movements=_moved(
            (_PAID_FROM[payment.kind], Kind.RECEIVABLE, payment.amount - promotional),
            (Kind.PROMOTIONAL_CREDIT, Kind.RECEIVABLE, promotional),
        ),
        created_at=now,
    )


def invoice_overpaid(*, attempt: PaymentAttempt, amount: int, now: datetime) -> NewEntry:
    """A payment brought more than was owed when it came: the rest is the customer's to spend."""
    return NewEntry(
        customer_id=attempt.customer_id,
        currency=attempt.currency,
        kind="invoice_overpaid",
        key=f"invoice_overpaid:{attempt.id.hex}",
        reference_id=attempt.id,
        movements=_moved((Kind.CLEARING, Kind.CUSTOMER_CREDIT, amount)),
        created_at=now,
    )


def invoice_written_off(*, invoice: Invoice, amount: int, now: datetime) -> NewEntry:
    """Nobody expects any more that what is owed will be paid."""
    return NewEntry(
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        kind="invoice_written_off",
        key=f"write_off:{invoice.id.hex}",
        reference_id=invoice.id,
        movements=_moved((Kind.BAD_DEBT, Kind.RECEIVABLE, amount)),
        created_at=now,
    )


def _shared_out(pot: Kind, earned: Earned) -> tuple[tuple[Kind, Kind, int], ...]:
    return (
        (pot, Kind.REVENUE, earned.revenue),
        (pot, Kind.PLATFORM_FEE, earned.platform_fee),
        (pot, Kind.TAX, earned.tax),
    )


def _moved(*amounts: tuple[Kind, Kind, int]) -> tuple[Movement, ...]:
    """Write signed amounts as positive movements; nothing moves for zero."""
    return tuple(
        [
            Movement(debit, credit, amount) if amount > 0 else Movement(credit, debit, -amount)
            for debit, credit, amount in amounts
            if amount
        ]
    )
