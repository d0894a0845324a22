"""What is done with an invoice from its page; each asks first, and says what came of it."""

import secrets
from collections.abc import Callable
from typing import Any

from django import forms as django_forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
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
from dashboard import forms, invoice_forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from merchants import ids, rates
from merchants.errors import ServiceError, ValidationFailed
from ui import fmt, pages

LINES_SHOWN = 40  # with a field each, in the form of a credit note
_NAMES = {"displayName": "name", "unitPrice": "unit_price"}

Act = Callable[[Invoice, dict[str, Any]], str]


@page("invoices:write", writes="invoices:write")
def issue(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """Issue a draft."""

    def act(invoice: Invoice, given: dict[str, Any]) -> str:
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

    def act(invoice: Invoice, given: dict[str, Any]) -> str:
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

    def act(invoice: Invoice, given: dict[str, Any]) -> str:
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

    def act(invoice: Invoice, given: dict[str, Any]) -> str:
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

    def act(invoice: Invoice, given: dict[str, Any]) -> str:
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

    def act(invoice: Invoice, given: dict[str, Any]) -> str:
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

    def act(invoice: Invoice, given: dict[str, Any]) -> str:
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

    def act(invoice: Invoice, given: dict[str, Any]) -> str:
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
    form = invoice_forms.Credit(request.POST if request.method == "POST" else None, lines=says)
    if form.is_valid():
        amounts = {
            line.id: money.to_nanos(form.cleaned_data[f"line_{place}"])
            for place, line in enumerate(lines)
            if form.cleaned_data[f"line_{place}"]
        }
        new = NewCreditNote(
            invoice_id=invoice.id,
            reason=Reason(form.cleaned_data["reason"]),
            amounts=amounts or None,
            memo=form.cleaned_data["memo"],
            to=To(form.cleaned_data["to"]),
        )
        try:
            note = credit_notes.issue(merchant_id=request.seat.merchant.id, new=new, actor=actor(request))
            credit_notes.send_refund(note)
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            messages.success(request, f"{note.number} is issued over {fmt.money(note.total, note.currency)}.")
            return redirect(to(request, "credit-note", ids.text("cn", note.id)))
    lead = (
        f"Up to {fmt.charge(left.whole, invoice.currency)} is left. Give amounts for some lines, or none for all of it."
    )
    return _form(request, form, invoice_id, title="Credit this invoice", lead=lead, verb="Issue credit note")


def _ask(
    request: SeatedRequest,
    invoice_id: str,
    kind: type[django_forms.Form],
    act: Act,
    *,
    initial: dict[str, Any] | None = None,
    **words: str,
) -> HttpResponse:
    """Ask for what is needed, act, and go back to the invoice with what came of it."""
    invoice = _invoice(request, invoice_id)
    form = kind(request.POST) if request.method == "POST" else kind(initial=initial)
    if form.is_valid():
        try:
            done = act(invoice, form.cleaned_data)
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=_NAMES)
        else:
            messages.success(request, done)
            return redirect(to(request, "invoice", invoice_id))
    return _form(request, form, invoice_id, **{**words, "title": f"{words['title']}: {_named(invoice)}"})


def _named(invoice: Invoice) -> str:
    """Name an invoice, with what is owed on it, to who is about to do something to it."""
    name = invoice.number or f"from {fmt.day(timezone.localtime(invoice.period_start))}"
    unpaid = invoice.unpaid_amount or 0
    return f"{name}, {fmt.money(unpaid, invoice.currency)} owed" if unpaid > 0 else name


def _form(request: SeatedRequest, form: django_forms.Form, invoice_id: str, **words: str) -> HttpResponse:
    context = {
        "nav": "invoices",
        "seat": request.seat,
        "form": form,
        "back": to(request, "invoice", invoice_id),
        **words,
    }
    return pages.answer(request, "dashboard/form.html", context)


def _invoice(request: SeatedRequest, invoice_id: str) -> Invoice:
    return statements.find(merchant_id=request.seat.merchant.id, invoice_id=public_id("inv", invoice_id))
