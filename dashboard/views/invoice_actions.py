"""What is done with an invoice from its page; each asks first, and says what came of it."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms as django_forms
from django.http import HttpResponse
from django.utils import timezone

from billing import (
    credit_notes,
    credit_reads,
    drafts,
    invoice_payments,
    invoicing,
    manual_lines,
    money,
    statements,
    voiding,
)
from billing.credit_notes import NewCreditNote, Reason, To
from billing.invoice_payments import How
from billing.manual_lines import NewLine
from billing.models import Invoice, PaymentAttempt
from dashboard import invoice_forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import Done, Given, fill, sent
from merchants import ids, rates
from merchants.errors import ValidationFailed
from ui import fmt

LINES_SHOWN = 40  # with a field each, in the form of a credit note
_NAMES = {"displayName": "name", "unitPrice": "unit_price"}

Act = Callable[[Invoice, Given], str]


@page("invoices:write", writes="invoices:write")
def issue(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Issue a draft."""

    def act(invoice: Invoice, given: Given) -> str:
        made = drafts.approve(merchant_id=request.seat.merchant.id, invoice_id=invoice.id, actor=actor(request))
        return f"{made.number} is issued."

    return _ask(
        request,
        invoice_id,
        invoice_forms.Confirm,
        act,
        title="Issue this invoice",
        lead="It gets its number and goes to the customer. What it says does not change any more.",
        verb="Issue invoice",
    )


@page("invoices:write", writes="invoices:write")
def retry(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Put an invoice that could not be issued back on the schedule."""

    def act(invoice: Invoice, given: Given) -> str:
        invoicing.retry(invoice_id=invoice.id, merchant_id=request.seat.merchant.id, actor=actor(request))
        return "It is tried again within a minute. Where something is still wrong, it comes back here with the reason."

    return _ask(
        request,
        invoice_id,
        invoice_forms.Confirm,
        act,
        title="Try this invoice again",
        lead="Once what kept it from being issued is put right. Later invoices of the subscription wait for it.",
        verb="Try again",
    )


@page("invoices:write", writes="invoices:write")
def add_line(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Put a line on an open invoice."""

    def act(invoice: Invoice, given: Given) -> str:
        new = NewLine(**given, currency=invoice.currency, invoice_id=invoice.id)
        line, _ = manual_lines.add(merchant_id=request.seat.merchant.id, new=new)
        return f"{line.name} is on the invoice: {fmt.money(line.gross, invoice.currency)} with tax."

    return _ask(
        request,
        invoice_id,
        invoice_forms.AddLine,
        act,
        title="Add a line",
        lead="It is taxed and charged like everything else on the invoice. A credit cannot take it below zero.",
        verb="Add line",
        initial={"quantity": 1, "key": secrets.token_hex(16)},
    )


@page("invoices:write", writes="invoices:write")
def pay(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Collect what is owed."""

    def act(invoice: Invoice, given: Given) -> str:
        merchant_id = request.seat.merchant.id
        rates.take_one(f"pay:{invoice.id.hex}", merchant_id=merchant_id, most=1, seconds=60, now=timezone.now())
        paid = invoice_payments.pay(merchant_id=merchant_id, invoice_id=invoice.id, how=How())
        if paid.attempt is not None and paid.attempt.state == PaymentAttempt.State.DECLINED:
            raise ValidationFailed(f"The card was declined: {paid.attempt.failure_message}", field="")
        if paid.invoice.status == Invoice.Status.PAID:
            return "The invoice is paid."
        return f"{fmt.money(paid.invoice.unpaid_amount or 0, invoice.currency)} is still owed or on its way."

    return _ask(
        request,
        invoice_id,
        invoice_forms.Confirm,
        act,
        title="Collect this invoice",
        lead="From the customer’s balance what it covers, the rest from their saved card.",
        verb="Collect now",
    )


@page("invoices:write", writes="invoices:write")
def mark_paid(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Write down that it was paid past us."""

    def act(invoice: Invoice, given: Given) -> str:
        amount = None if given["amount"] is None else money.to_nanos(given["amount"])
        invoice_payments.record_outside(
            merchant_id=request.seat.merchant.id,
            invoice_id=invoice.id,
            amount=amount,
            reference=given["reference"],
            paid_at=None,
            actor=actor(request),
        )
        return "The payment is recorded."

    return _ask(
        request,
        invoice_id,
        invoice_forms.MarkPaid,
        act,
        title="Mark as paid",
        lead="For money that came to you in another way, such as a bank transfer.",
        verb="Record payment",
    )


@page("invoices:write", writes="invoices:write")
def void(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Void an invoice on which nothing was paid."""

    def act(invoice: Invoice, given: Given) -> str:
        named = {"merchant_id": request.seat.merchant.id, "invoice_id": invoice.id}
        voiding.void(**named, reason=given["reason"], actor=actor(request))
        return f"{invoice.number} is void. You can bill it anew from its page."

    return _ask(
        request,
        invoice_id,
        invoice_forms.WithReason,
        act,
        title="Void this invoice",
        lead="It keeps its number, and a credit note takes all of it back. This cannot be undone.",
        verb="Void invoice",
    )


@page("invoices:write", writes="invoices:write")
def regenerate(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Bill a voided invoice anew."""

    def act(invoice: Invoice, given: Given) -> str:
        named = {"merchant_id": request.seat.merchant.id, "invoice_id": invoice.id}
        made = voiding.regenerate(**named, actor=actor(request))
        return f"{made.number} takes the place of {invoice.number}."

    return _ask(
        request,
        invoice_id,
        invoice_forms.Confirm,
        act,
        title="Bill this anew",
        lead="A new invoice with a number of its own says what this one said, to the customer as they are now.",
        verb="Bill anew",
    )


@page("invoices:write", writes="invoices:write")
def write_off(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Give up what is owed."""

    def act(invoice: Invoice, given: Given) -> str:
        named = {"merchant_id": request.seat.merchant.id, "invoice_id": invoice.id}
        voiding.write_off(**named, reason=given["reason"], actor=actor(request))
        return "What was owed is written off."

    return _ask(
        request,
        invoice_id,
        invoice_forms.WithReason,
        act,
        title="Write off this invoice",
        lead="What is owed is booked as bad debt, and nothing more is tried to collect it. This cannot be undone.",
        verb="Write off",
    )


@page("invoices:write", writes="invoices:write")
def credit(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Give something back of an issued invoice."""
    invoice = _invoice(request, invoice_id)
    left = credit_reads.left(invoice)
    lines = [line for line in statements.lines_of(invoice) if line.id in left.lines][:LINES_SHOWN]
    says = [(line.description, fmt.charge(left.lines[line.id].gross, invoice.currency)) for line in lines]
    form = invoice_forms.Credit(sent(request), lines=says)

    def act(given: Given) -> Done:
        amounts = {
            line.id: money.to_nanos(given[f"line_{place}"])
            for place, line in enumerate(lines)
            if given[f"line_{place}"]
        }
        new = NewCreditNote(
            invoice_id=invoice.id,
            reason=Reason(given["reason"]),
            amounts=amounts or None,
            memo=given["memo"],
            to=To(given["to"]),
        )
        note = credit_notes.issue(merchant_id=request.seat.merchant.id, new=new, actor=actor(request))
        credit_notes.send_refund(note)
        words = f"{note.number} is issued over {fmt.money(note.total, note.currency)}."
        return Done(words, to(request, "credit-note", ids.text("cn", note.id)))

    left_over = fmt.charge(left.whole, invoice.currency)
    return fill(
        request,
        form,
        act,
        nav="invoices",
        title="Credit this invoice",
        lead=f"Up to {left_over} is left. Give amounts for some lines, or none for all of it.",
        verb="Issue credit note",
        back=to(request, "invoice", invoice_id),
    )


def _ask(
    request: SeatedRequest,
    invoice_id: str,
    kind: type[django_forms.Form],
    act: Act,
    *,
    title: str,
    lead: str,
    verb: str,
    initial: dict[str, Any] | None = None,
) -> HttpResponse:
    """Ask for what is needed, act, and go back to the invoice with what came of it."""
    invoice = _invoice(request, invoice_id)
    return fill(
        request,
        kind(sent(request), initial=initial),
        partial(act, invoice),
        nav="invoices",
        title=f"{title}: {_named(invoice)}",
        lead=lead,
        verb=verb,
        back=to(request, "invoice", invoice_id),
        names=_NAMES,
    )


def _named(invoice: Invoice) -> str:
    """Name an invoice, with what is owed on it, to who is about to do something to it."""
    name = invoice.number or f"from {fmt.day(timezone.localtime(invoice.period_start))}"
    unpaid = invoice.unpaid_amount or 0
    return f"{name}, {fmt.money(unpaid, invoice.currency)} owed" if unpaid > 0 else name


def _invoice(request: SeatedRequest, invoice_id: str) -> Invoice:
    return statements.find(merchant_id=request.seat.merchant.id, invoice_id=public_id("inv", invoice_id))
