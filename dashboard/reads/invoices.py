"""Invoices as lists and pages show them: what they say, and each line back to the events it sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from billing import (
    credit_reads,
    dunning,
    first_payments,
    invoice_payments,
    invoice_sessions,
    measures,
    receivables,
    statements,
    wording,
)
from billing.models import Charge, Dunning, Invoice, InvoicePayment, PaymentAttempt, Subscription, Wallet
from billing.reductions import Taken
from billing.statements import Line, LineCharge, Totals
from customers.models import Customer
from dashboard.reads import naming
from merchants import ids
from ui import fmt
from ui.paging import Page, page

Status = Invoice.Status
_SOURCES: Final[dict[str, str]] = {
    Charge.Kind.RERATE: "All use by then",
    Charge.Kind.MANUAL: "Added by hand",
    Charge.Kind.REBILL: "Billed anew",
    Charge.Kind.MOVED: "Given back by credit note",
}
LINE_CHARGES = 50  # of one line, on one page
CUSTOMER_SHOWN = 6
STATUSES: Final = {
    Status.PENDING.value: "Upcoming",
    Status.ACTIVE.value: "Open",
    Status.CLOSING.value: "Closing",
    Status.CLOSED.value: "Closing",
    Status.CALCULATING.value: "Closing",
    Status.DRAFT.value: "Draft",
    Status.ISSUED.value: "Issued",
    Status.PAID.value: "Paid",
    Status.PAYMENT_FAILED.value: "Payment failed",
    Status.CANCELLED.value: "Cancelled",
    Status.WRITTEN_OFF.value: "Written off",
    Status.FAILED.value: "Needs attention",
}
STEPS: Final = {dunning.COLLECT: "Card charged", dunning.REMIND: "Reminder", dunning.FINAL: "Last step"}
FILTERS: Final = {
    "open": ("Open", [Status.ACTIVE, Status.CLOSING, Status.CLOSED, Status.CALCULATING]),
    "issued": ("Issued", [Status.ISSUED, Status.DRAFT]),
    "paid": ("Paid", [Status.PAID]),
    "unpaid": ("Payment failed", [Status.PAYMENT_FAILED, Status.WRITTEN_OFF]),
    "failed": ("Needs attention", [Status.FAILED]),
}


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """One line of a list of invoices."""

    id: str
    number: str  # empty until it is issued
    customer_id: str
    customer: str
    plan: str
    status: str
    currency: str
    period_start: datetime
    period_end: datetime
    totals: Totals

    @property
    def status_words(self) -> str:
        return STATUSES[self.status]


@dataclass(frozen=True, slots=True)
class LineRow:
    """One line of an invoice, its amounts in nanos."""

    id: str
    description: str
    unit: str
    quantity: Decimal
    details: list[str]  # what use came to, what of it is free, how it is priced, and which coupons took something off
    says: Line
    is_prepaid: bool
    net: fmt.Aligned
    tax: fmt.Aligned
    gross: fmt.Aligned

    @property
    def has_quantity(self) -> bool:
        return self.says.kind not in measures.UNCOUNTED


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done with an invoice now."""

    page: str
    words: str


@dataclass(frozen=True, slots=True)
class NoteRow:
    """A credit note of an invoice."""

    id: str
    number: str
    at: datetime
    reason: str
    total: int


@dataclass(frozen=True, slots=True)
class Document:
    """Everything an invoice's page shows."""

    invoice: Invoice
    row: InvoiceRow
    lines: list[LineRow]
    subscription_id: str
    as_of: datetime | None  # how far use is counted that is rated after the fact; None: all of it is
    actions: list[Action]
    payments: list[InvoicePayment]
    attempts: list[PaymentAttempt]  # those that brought nothing, or not yet
    notes: list[NoteRow]
    dunning: Dunning | None
    payment_url: str
    replaced_by: str
    paid: list[tuple[str, int]]  # how, and how much, in nanos

    @property
    def next_step(self) -> str:
        return STEPS[dunning.what(self.dunning)] if self.dunning is not None else ""


@dataclass(frozen=True, slots=True)
class Source:
    """One charge of a line, and the event it reaches back to."""

    says: LineCharge
    event_id: str  # empty for a fee, and for what is rated after the fact
    gross: fmt.Aligned

    @property
    def words(self) -> str:
        """What it is of, where that is no event."""
        return _SOURCES.get(self.says.kind, "Fee")


def listing(*, merchant_id: UUID, status: str, cursor: str) -> Page[Any]:
    """Return a page of a merchant's invoices, the newest first; those of periods to come are left out."""
    rows = Invoice.objects.filter(merchant_id=merchant_id).exclude(status=Status.PENDING)
    if status in FILTERS:
        rows = rows.filter(status__in=FILTERS[status][1])
    found = page(rows, cursor=cursor)
    return Page(rows=_described(found.rows), newer=found.newer, older=found.older)


def of_customer(customer: Customer, plans: Mapping[UUID, str]) -> list[InvoiceRow]:
    """Return a customer's latest invoices; the plans of their subscriptions are known by the subscriptions' ids."""
    rows = Invoice.objects.filter(
        bucket=customer.bucket, customer_id=customer.id, merchant_id=customer.merchant_id
    ).exclude(status=Status.PENDING)
    shown = list(rows.order_by("-period_start", "-id")[:CUSTOMER_SHOWN])
    return _rows(shown, {customer.id: customer.name}, plans)


def document(invoice: Invoice) -> Document:
    """Gather an invoice's page."""
    lines = statements.lines_of(invoice)
    wallets = Wallet.objects.filter(bucket=invoice.bucket, id__in={line.wallet_id for line in lines})
    prepaid = set(wallets.filter(kind=Wallet.Kind.PREPAID).values_list("id", flat=True))
    columns = [
        fmt.align([int(getattr(line, name)) for line in lines], invoice.currency) for name in ("net", "tax", "gross")
    ]
    row = _described([invoice])[0]
    return Document(
        invoice=invoice,
        row=row,
        lines=[
            LineRow(
                id=ids.text("line", line.id),
                description=line.description,
                unit=_unit(line),
                quantity=measures.counted(line),
                details=_details(line),
                says=line,
                is_prepaid=line.wallet_id in prepaid,
                net=net,
                tax=tax,
                gross=gross,
            )
            for line, net, tax, gross in zip(lines, *columns, strict=True)
        ],
        subscription_id=ids.text("sub", invoice.subscription_id),
        as_of=statements.behind_since([invoice]).get(invoice.id),
        actions=_actions(invoice),
        payments=list(invoice_payments.of_invoice(invoice)),
        attempts=[
            each for each in invoice_payments.attempts_of(invoice) if each.state != PaymentAttempt.State.SUCCEEDED
        ],
        notes=_notes(invoice),
        dunning=dunning.of(invoice),
        payment_url=invoice_sessions.url(invoice),
        replaced_by=_replaced_by(invoice),
        paid=_paid(invoice, row.totals, lines),
    )


def _paid(invoice: Invoice, totals: Totals, lines: Sequence[Line]) -> list[tuple[str, int]]:
    """Say how an invoice was paid; what came in since it was issued is listed with its payments."""
    subscription = Subscription.objects.get(bucket=invoice.bucket, id=invoice.subscription_id)
    before = totals.paid if invoice.number is None else totals.grand - (invoice.owed_amount or 0)
    found = first_payments.by_card(subscription, invoice, lines)
    by_card = min(found.amount, before) if found is not None else 0
    ways = [
        ("Paid by card at checkout", by_card),
        ("Paid from the prepaid balance", before - by_card),
        ("Paid since", totals.paid - before),
    ]
    return [(how, amount) for how, amount in ways if amount] or [("Paid", 0)]


def _actions(invoice: Invoice) -> list[Action]:
    """Say what can be done with an invoice as it stands."""
    owed = invoice.status in receivables.OPEN and (invoice.unpaid_amount or 0) > 0
    is_void, is_issued = invoice.voided_at is not None, invoice.number is not None
    offered = {
        "retry": ("Try again", invoice.status == Status.FAILED),
        "issue": ("Issue", invoice.status == Status.DRAFT),
        "add-line": ("Add line", invoice.status in (Status.ACTIVE, Status.CLOSING)),
        "pay": ("Collect", owed),
        "mark-paid": ("Mark as paid", owed),
        "credit": ("Credit", is_issued and not is_void and bool(invoice.grand_total)),
        "void": ("Void", owed and not invoice.paid_amount),
        "write-off": ("Write off", owed),
        "regenerate": ("Bill anew", is_void and not _replaced_by(invoice)),
    }
    return [Action(f"dashboard:invoice-{name}", words) for name, (words, is_offered) in offered.items() if is_offered]


def _notes(invoice: Invoice) -> list[NoteRow]:
    rows = credit_reads.search(merchant_id=invoice.merchant_id, invoice_id=invoice.id)
    return [
        NoteRow(
            ids.text("cn", note.id), note.number, note.issued_at, note.memo or note.get_reason_display(), note.total
        )
        for note in rows
    ]


def _replaced_by(invoice: Invoice) -> str:
    if invoice.voided_at is None:
        return ""
    other = Invoice.objects.filter(bucket=invoice.bucket, replaces_id=invoice.id).values_list("id", flat=True).first()
    return "" if other is None else ids.text("inv", other)


def sources(*, invoice: Invoice, line_id: UUID, after: int) -> list[Source]:
    """Return some of the charges that a line sums, after one's number; raises NotFound for another's line."""
    charges = statements.charges_of(invoice=invoice, line_id=line_id, after=after, limit=LINE_CHARGES + 1)
    amounts = fmt.align([charge.gross for charge in charges], invoice.currency)
    return [
        Source(charge, ids.text("usg", charge.usage_event_id) if charge.usage_event_id else "", amount)
        for charge, amount in zip(charges, amounts, strict=True)
    ]


def _unit(line: Line) -> str:
    metric = line.price.price.billable_metric if line.price is not None else None
    return metric.unit if metric is not None and line.kind != Charge.Kind.FEE else ""


def _details(line: Line) -> list[str]:
    priced = statements.priced_as(line.price) if line.price is not None else None
    said = []
    if priced is not None and line.metric_id is not None and line.kind in measures.KINDS:
        voice = fmt.Voice(line.currency, _unit(line))
        if line.measure is not None:
            said += [wording.came_to(line.measure, priced, voice)]
        said += [fmt.sentence(wording.in_words(priced.model, voice, for_customers=True))]
    said += [
        f"{each.coupon.name} ({each.coupon.code}): {fmt.charge(each.net, line.currency)}" for each in _several(line)
    ]
    return list(filter(None, said))


def _several(line: Line) -> tuple[Taken, ...]:
    """The coupons of a line that more than one took something off; one alone has its name in the description."""
    return line.reduction.taken if len(line.reduction.taken) > 1 else ()


def _described(invoices: Sequence[Invoice]) -> list[InvoiceRow]:
    names = naming.customers((invoice.bucket, invoice.customer_id) for invoice in invoices)
    plans = dict(
        Subscription.objects.filter(pk__in=[(each.bucket, each.subscription_id) for each in invoices]).values_list(
            "id", "plan__name"
        )
    )
    return _rows(invoices, names, plans)


def _rows(invoices: Sequence[Invoice], names: Mapping[UUID, str], plans: Mapping[UUID, str]) -> list[InvoiceRow]:
    totals = statements.totals_of(invoices)
    return [
        InvoiceRow(
            id=ids.text("inv", invoice.id),
            number=invoice.number or "",
            customer_id=ids.text("cus", invoice.customer_id),
            customer=names.get(invoice.customer_id, "Deleted customer"),
            plan=plans[invoice.subscription_id],
            status=invoice.status,
            currency=invoice.currency,
            period_start=invoice.period_start,
            period_end=invoice.period_end,
            totals=totals[invoice.id],
        )
        for invoice in invoices
    ]
