"""Credit notes: what is given back of an issued invoice, in whole or in part, in a document with its own number.

A credit note is an invoice turned round. Its lines refer to the invoice's lines; each is a charge below zero that is
numbered, settled and summed like any other, so revenue, platform fee and tax are taken back in the proportion in which
they were earned. What it comes to goes three ways: off the debt of the invoice, to the prepaid balance, or back to the
card that paid. Off the debt and to a card it goes in whole minor units, as the invoice is owed in them; what that adds
is booked as rounding.

No line is credited beyond what it came to, and no invoice beyond what its lines come to in all.

Lock order: the customer's book, then the wallets, and last the merchant's row that numbers credit notes.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from django.db import transaction

from billing import (
    charges,
    credit_ways,
    discounts,
    documents,
    invoice_sessions,
    issuing,
    journal,
    ledger,
    money,
    notices,
    numbering,
    receivables,
    statements,
)
from billing.credit_reads import Left, left
from billing.credit_ways import Part
from billing.models import (
    Charge,
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    PaymentAttempt,
    PaymentRefund,
    Subscription,
    Wallet,
)
from billing.payments import refunds
from billing.rating import Totals
from customers import books
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import NotFound, Unprocessable, ValidationFailed

Reason = CreditNote.Reason


class To(StrEnum):
    """Where what is given back goes; by itself: off the debt, and what is more than that to the balance.

    To the card that paid it goes by way of the balance, from which the refund takes it.
    """

    AUTO = "auto"
    RECEIVABLE = "receivable"
    BALANCE = "balance"
    CARD = "card"


@dataclass(frozen=True, kw_only=True)
class NewCreditNote:
    """What a merchant asks for.

    ``amounts`` is in nanos, tax included, in whole minor units, by the invoice line's id; None: all that is left.
    """

    invoice_id: uuid.UUID
    reason: Reason
    amounts: Mapping[uuid.UUID, int] | None = None
    memo: str = ""
    to: To = To.AUTO


# --- issuing ---------------------------------------------------------------------------------------------


def issue(*, merchant_id: uuid.UUID, new: NewCreditNote, actor: Actor) -> CreditNote:
    """Credit an issued invoice.

    Raises:
        NotFound: the merchant has no such invoice, or the invoice no such line.
        ValidationFailed: an amount is none that can be given.
        Conflict: the invoice is not issued, or it is void.
        Unprocessable: it is more than is left of the invoice or of a line, or than is owed where only that may shrink.
    """
    seen = statements.find(merchant_id=merchant_id, invoice_id=new.invoice_id)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        invoice = statements.find(merchant_id=merchant_id, invoice_id=new.invoice_id)
        receivables.check_standing(invoice)
        note = credit(invoice, new, now)
        audit.append(
            merchant_id=merchant_id,
            actor=actor,
            action="credit_note.issued",
            target=ids.text("cn", note.id),
            changes={"invoice": invoice.number, "total": money.from_nanos(note.total), "reason": note.reason},
            now=now,
        )
    return note


def credit(invoice: Invoice, new: NewCreditNote, now: datetime) -> CreditNote:
    """Credit an issued invoice; the caller holds the lock of the book. Raises as ``issue`` does."""
    rest = left(invoice)
    shares = _shares(invoice, new, rest)
    subscription = Subscription.objects.get(bucket=invoice.bucket, id=invoice.subscription_id)
    off_debt, parts = _ways(invoice, new, shares, rest, subscription)
    paid_by = _card_payment(invoice) if new.to == To.CARD else None
    note = _write(invoice, new, parts, subscription, off_debt)
    if paid_by is not None:
        note.to_card = note.to_balance // money.minor_unit(invoice.currency) * money.minor_unit(invoice.currency)
        note.to_balance -= note.to_card
    if note.total > rest.most:
        raise _too_much(invoice, rest.most)
    _charge(note, parts, subscription, now)
    _book(note, invoice, subscription, now)
    if paid_by is not None and note.to_card:
        note.refund_id = refunds.begin(paid_by, note.to_card, reason=new.memo or new.reason, now=now).id
    _number(note, parts, now)
    return note


def move(
    invoice: Invoice,
    parts: Sequence[Part],
    off_debt: int,
    landed_on: Invoice,
    subscription: Subscription,
    now: datetime,
) -> CreditNote:
    """Credit an invoice for what was given back already, by charges that landed on an additional one.

    There it is charged again, so that it is given back once. The caller holds the lock of the book, and keeps within
    what is left of the invoice and its lines.
    """
    new = NewCreditNote(invoice_id=invoice.id, reason=Reason.CORRECTION)
    note = _write(invoice, new, parts, subscription, off_debt)
    note.landed_on_id = landed_on.id
    _charge(note, parts, subscription, now)
    _book(note, invoice, subscription, now)
    _number(note, parts, now)
    return note


def _number(note: CreditNote, parts: Sequence[Part], now: datetime) -> None:
    """Give a note its number, last of all, and write it down."""
    note.number = numbering.credit_note_number(note.merchant_id)
    note.issued_at = now
    note.save(force_insert=True)
    documents.freeze_credit_note(note, _write_lines(note, parts), now)
    notices.credited(note, now)


class _Share(NamedTuple):
    line: InvoiceLine
    totals: Totals


def _shares(invoice: Invoice, new: NewCreditNote, rest: Left) -> list[_Share]:
    """Tell what is given back of each line; raises NotFound, ValidationFailed or Unprocessable.

    Nothing, where only what whole minor units made of the lines is left to take off the debt.
    """
    lines = {line.id: line for line in InvoiceLine.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id)}
    if new.amounts is None:
        amounts = discounts.shared_out(rest.whole, {key: totals.gross for key, totals in rest.lines.items()})
        if not amounts and not min(_owed(invoice, new.to), rest.most):
            raise Unprocessable("Nothing is left to credit.", code="NOTHING_TO_CREDIT")
    else:
        amounts = dict(new.amounts)
        _check_amounts(invoice, amounts, lines, rest)
    shares = [
        _Share(lines[key], discounts.taken_off(rest.lines[key], amount, is_gross=True))
        for key, amount in amounts.items()
    ]
    return sorted(shares, key=lambda share: share.line.position)


def _check_amounts(
    invoice: Invoice, amounts: dict[uuid.UUID, int], lines: Mapping[uuid.UUID, InvoiceLine], rest: Left
) -> None:
    unit = money.minor_unit(invoice.currency)
    for key, amount in amounts.items():
        if key not in lines:
            raise NotFound("The invoice has no such line.", details={"field": "lines"})
        available = rest.lines[key].gross if key in rest.lines else 0
        if 0 <= amount - available < unit:
            amounts[key] = available  # a line is worth fractions of a cent: its last cent takes what is there
        elif amount > available:
            raise _too_much(invoice, available, key)
        elif amount <= 0 or amount % unit:
            message = f"An amount must be above zero, in whole minor units of {invoice.currency}."
            raise ValidationFailed(message, field="lines", code="INVALID_AMOUNT")
        if not amounts[key]:
            raise _too_much(invoice, available, key)
    if sum(amounts.values()) > rest.whole:
        raise _too_much(invoice, rest.whole)


def _too_much(invoice: Invoice, available: int, line_id: uuid.UUID | None = None) -> Unprocessable:
    what = "the invoice" if line_id is None else "the line"
    details = {"left": money.from_nanos(available), "currency": invoice.currency}
    if line_id is not None:
        details["lineItemId"] = ids.text("line", line_id)
    return Unprocessable(f"That is more than is left of {what} to credit.", code="CREDIT_EXCEEDS", details=details)


def _owed(invoice: Invoice, to: To) -> int:
    """What a credit note may take off the debt."""
    return 0 if to in (To.BALANCE, To.CARD) else max(0, invoice.unpaid_amount or 0)


def _ways(
    invoice: Invoice, new: NewCreditNote, shares: Sequence[_Share], rest: Left, subscription: Subscription
) -> tuple[int, list[Part]]:
    """Split the shares between the debt and the balance; returns what comes off the debt, and the parts.

    Raises:
        Unprocessable: only the debt may shrink, and it is less.
    """
    whole, owed = sum([share.totals.gross for share in shares]), _owed(invoice, new.to)
    off_debt, exact = credit_ways.debt_part(whole, owed, rest.most, invoice.currency, is_all_left=new.amounts is None)
    if new.to == To.RECEIVABLE and exact < whole:
        raise Unprocessable(
            "That is more than is owed on the invoice.",
            code="CREDIT_EXCEEDS_UNPAID",
            details={"unpaid": money.from_nanos(owed), "currency": invoice.currency},
        )
    return off_debt, list(
        credit_ways.split([Part(*share, subscription.credit_wallet_id) for share in shares], exact, subscription)
    )


def _card_payment(invoice: Invoice) -> PaymentAttempt:
    """Return the newest card payment of an invoice; raises Unprocessable where there is none."""
    paid = PaymentAttempt.objects.filter(
        bucket=invoice.bucket,
        purpose=PaymentAttempt.Purpose.INVOICE,
        target_id=invoice.id,
        state=PaymentAttempt.State.SUCCEEDED,
    )
    attempt = paid.order_by("-created_at", "-id").first()
    if attempt is None:
        message = "No card has paid this invoice: credit it to the balance, from where it can be refunded."
        raise Unprocessable(message, code="NOT_PAID_BY_CARD")
    return attempt


def send_refund(note: CreditNote) -> None:
    """Hand the refund of a credit note to the payment provider, outside of any transaction; safe to call again."""
    if note.refund_id is not None:
        refunds.submit(PaymentRefund.objects.get(bucket=note.bucket, id=note.refund_id))


def _write(
    invoice: Invoice, new: NewCreditNote, parts: Sequence[Part], subscription: Subscription, off_debt: int
) -> CreditNote:
    exact = {True: 0, False: 0}
    for part in parts:
        exact[part.wallet_id == subscription.credit_wallet_id] += part.totals.gross
    rounding = off_debt - exact[True]
    return CreditNote(
        bucket=invoice.bucket,
        id=ids.new(invoice.bucket),
        customer_id=invoice.customer_id,
        merchant_id=invoice.merchant_id,
        subscription_id=invoice.subscription_id,
        invoice_id=invoice.id,
        reason=new.reason,
        memo=new.memo,
        currency=invoice.currency,
        subtotal=sum([part.totals.net for part in parts]),
        total_tax=sum([part.totals.tax for part in parts]),
        rounding=rounding,
        total=off_debt + exact[False],
        to_receivable=off_debt,
        to_balance=exact[False],
        to_card=0,
    )


def _charge(note: CreditNote, parts: Sequence[Part], subscription: Subscription, now: datetime) -> None:
    pots = charges.pots(subscription)
    move_id = ids.derived(note.bucket, "moved", note.id)
    for position, (line, totals, wallet_id, moved_from) in enumerate(parts):
        sold: dict[str, Any] = {
            "position": position,
            "price_version_id": line.price_version_id,
            "metric_id": line.metric_id,
            "period_start": line.period_start,
            "now": now,
        }
        back = Totals(-totals.net, -totals.tax, -totals.gross, -totals.fee)
        charges.post(
            pots[wallet_id], subscription, back, kind=Charge.Kind.CREDIT, source_id=note.id, invoice_id=note.id, **sold
        )
        if moved_from is not None and note.landed_on_id is not None:
            # Settled together with what it is given back by, so that no lot is drawn for it.
            charges.post(
                pots[moved_from],
                subscription,
                totals,
                kind=Charge.Kind.MOVED,
                source_id=move_id,
                invoice_id=note.landed_on_id,
                **sold,
            )
    issuing.settle(subscription, now)


def _book(note: CreditNote, invoice: Invoice, subscription: Subscription, now: datetime) -> None:
    """Move what comes off the debt from what is unbilled to what is receivable, and the invoice with it."""
    if not note.to_receivable and not note.rounding:
        return
    credit_wallet = Wallet.objects.get(bucket=note.bucket, id=subscription.credit_wallet_id)
    credit_wallet.balance += note.rounding
    credit_wallet.save(update_fields=["balance"])
    ledger.post([journal.credit_note_issued(note=note, now=now)])
    if not note.to_receivable:
        return
    invoice.credited_amount += note.to_receivable
    if receivables.lower(invoice, note.to_receivable, now):
        notices.paid(invoice, now)
    invoice_sessions.refresh(invoice, now)


def _write_lines(note: CreditNote, parts: Sequence[Part]) -> list[CreditNoteLine]:
    return CreditNoteLine.objects.bulk_create(
        [
            CreditNoteLine(
                bucket=note.bucket,
                customer_id=note.customer_id,
                credit_note_id=note.id,
                position=position,
                invoice_line_id=part.line.id,
                wallet_id=part.wallet_id,
                description=part.line.description,
                tax_rate=part.line.tax_rate,
                net=part.totals.net,
                tax=part.totals.tax,
                gross=part.totals.gross,
                fee=part.totals.fee,
            )
            for position, part in enumerate(parts)
        ]
    )
