"""Invoices over HTTP: totals live while they are open, frozen once they are issued, and everything behind a line."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import dunning, invoice_sessions, statements
from billing.api import documents
from billing.api.invoice_lines import InvoiceLineItemSerializer
from billing.models import Charge, Dunning, Invoice, Subscription
from billing.serializers import DecimalTextField, QuantityField
from billing.statements import Line, LineCharge, Totals
from merchants import ids
from merchants.errors import ValidationFailed
from merchants.serializers import (
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    QuerySerializer,
    QueryWholeField,
    StrictField,
    page_of,
)
from merchants.tenancy import TenantView

LINES_DEFAULT = 100
LINES_MAX = 1_000

Status = Invoice.Status
WIRE_STATUSES = [status.upper() for status in Status]
# What a charge came from, by kind: the prefix of its public id.
SOURCES = {
    Charge.Kind.USAGE: "usg",
    Charge.Kind.FEE: "fev",
    Charge.Kind.ADD_ON: "fev",
    Charge.Kind.UNUSED: "unp",
    Charge.Kind.TRUE_UP: "tru",
    Charge.Kind.COUPON: "cpu",
    Charge.Kind.REBATE: "frb",
    Charge.Kind.REFUND: "rfd",
    Charge.Kind.VOID: "cor",
    Charge.Kind.AMEND: "cor",
    Charge.Kind.RERATE: "rer",
    Charge.Kind.MANUAL: "li",
    Charge.Kind.CREDIT: "cn",
    Charge.Kind.REBILL: "inv",
    Charge.Kind.MOVED: "mov",
}
_is_token = re.compile(r"[1-9][0-9]{0,17}").fullmatch


@dataclass(frozen=True, slots=True)
class Shown:
    """An invoice with what it is shown with."""

    invoice: Invoice
    totals: Totals
    subscription: Subscription
    as_of: datetime | None = None  # None: all use is counted
    dunning: Dunning | None = None
    payment_url: str | None = None
    line_items: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LinePage:
    """Some of an invoice's lines."""

    invoice: Invoice
    lines: list[Line]
    total: int
    next_page_token: str | None


# --- fields ----------------------------------------------------------------------------------------------


@extend_schema_field({"type": "string", "pattern": "^[1-9][0-9]*$"})
class PageTokenField(StrictField):
    """Where the next page begins, as the page before told."""

    def read(self, value: Any, name: str) -> int:
        if type(value) is str and _is_token(value):
            return int(value)
        raise ValidationFailed(f"{name} is no token we gave.", field=name, code="INVALID_PAGE_TOKEN")


# --- answers ---------------------------------------------------------------------------------------------


class LineItemsSerializer(serializers.Serializer[Any]):
    """A page of an invoice's lines."""

    invoiceId = IdField("inv", source="invoice.id")
    lineItems = InvoiceLineItemSerializer(many=True, source="lines")
    totalCount = serializers.IntegerField(source="total")
    nextPageToken = serializers.CharField(source="next_page_token", allow_null=True)


class CollectionSerializer(serializers.Serializer[Dunning]):
    """How an unpaid invoice is collected."""

    state = serializers.ChoiceField(choices=[state.value for state in Dunning.State])
    nextStepAt = InstantField(source="next_at", allow_null=True)
    nextStep = serializers.SerializerMethodField("read_next_step")
    finalAction = serializers.CharField(source="final_action")
    lastFailure = serializers.CharField(source="last_failure")

    @extend_schema_field({"type": ["string", "null"], "enum": ["collect", "remind", "final", None]})
    def read_next_step(self, row: Dunning) -> str | None:
        """Tell what is done next."""
        return dunning.what(row) if row.next_at is not None else None


class InvoiceSerializer(serializers.Serializer[Any]):
    """A document over a subscription's period. Amounts are exact while it is open, whole minor units once issued."""

    id = IdField("inv", source="invoice.id")
    object = ConstantField("invoice")
    merchantId = IdField("org", source="invoice.merchant_id")
    customerId = IdField("cus", source="invoice.customer_id")
    subscriptionId = IdField("sub", source="invoice.subscription_id")
    status = serializers.ChoiceField(choices=WIRE_STATUSES)
    currency = serializers.CharField(source="invoice.currency")
    sequenceNumber = serializers.IntegerField(source="invoice.sequence_number")
    invoiceNumber = serializers.CharField(source="invoice.number", allow_null=True)
    periodStart = InstantField(source="invoice.period_start")
    periodEnd = InstantField(source="invoice.period_end")
    gracePeriodEnd = InstantField(source="invoice.grace_end")
    billingAnchor = InstantField(source="subscription.started_at")
    billingCadence = serializers.CharField(source="subscription.plan_version.billing_cadence")
    autoApprove = ConstantField(True)
    itemCount = serializers.IntegerField(source="totals.lines")
    subtotal = DecimalTextField(source="totals.subtotal")
    totalTax = DecimalTextField(source="totals.tax")
    rounding = DecimalTextField(source="totals.rounding", help_text="What whole minor units add to what is owed.")
    grandTotal = DecimalTextField(source="totals.grand")
    paidAmount = DecimalTextField(source="totals.paid", help_text="Drawn from the prepaid wallet, and paid since.")
    creditedAmount = DecimalTextField(
        source="invoice.credited_amount", help_text="What credit notes took off what is owed."
    )
    writtenOffAmount = DecimalTextField(source="invoice.written_off_amount")
    unpaidAmount = DecimalTextField(source="totals.unpaid", help_text="Used on credit: owed.")
    asOf = InstantField(
        allow_null=True,
        help_text="How far use is counted, where some is only rated after the fact; null when all of it is.",
    )
    paymentUrl = serializers.CharField(allow_null=True, help_text="Where it can be paid, while it is owed.")
    pdfUrl = serializers.CharField(allow_null=True, help_text="Where its PDF is, once it is issued; with an API key.")
    collection = CollectionSerializer(source="dunning", allow_null=True)
    failureReason = serializers.CharField(source="invoice.failure_reason", allow_null=True)
    nextActionAt = InstantField(allow_null=True)
    replacesId = IdField(
        "inv", source="invoice.replaces_id", allow_null=True, help_text="The voided invoice in whose place it stands."
    )
    issuedAt = InstantField(source="invoice.issued_at", allow_null=True)
    dueAt = InstantField(source="invoice.due_at", allow_null=True)
    paidAt = InstantField(source="invoice.paid_at", allow_null=True)
    voidedAt = InstantField(source="invoice.voided_at", allow_null=True)
    writtenOffAt = InstantField(source="invoice.written_off_at", allow_null=True)
    createdAt = InstantField(source="invoice.created_at")
    updatedAt = InstantField(source="invoice.updated_at")
    lineItems = LineItemsSerializer(required=False, help_text="Where it is asked for with expand=lineItems.")

    def to_representation(self, instance: Shown) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(_InvoiceFacts(instance))
        shown["failureReason"] = shown["failureReason"] or None
        if instance.line_items is not None:
            shown["lineItems"] = instance.line_items
        return shown


class _InvoiceFacts:
    """An invoice as its serializer reads it."""

    def __init__(self, shown: Shown) -> None:
        self.invoice, self.totals, self.subscription = shown.invoice, shown.totals, shown.subscription
        self.paymentUrl = shown.payment_url
        self.pdfUrl = documents.pdf_url(shown.invoice)
        self.status, self.asOf, self.dunning = shown.invoice.status.upper(), shown.as_of, shown.dunning
        ahead = {
            Status.PENDING: "period_start",
            Status.ACTIVE: "period_end",
            Status.CLOSING: "grace_end",
            Status.DRAFT: "approve_at",
        }
        attribute = ahead.get(Status(shown.invoice.status))
        self.nextActionAt = getattr(shown.invoice, attribute) if attribute else None


class LineEventSerializer(serializers.Serializer[Any]):
    """One charge of a line, and the usage event, fee, true-up, coupon or refund it came from."""

    object = ConstantField("invoiceLineEvent")
    sequence = serializers.IntegerField(source="seq", help_text="Its place among the wallet's charges.")
    eventType = serializers.ChoiceField(choices=[kind.value for kind in Charge.Kind], source="kind")
    eventId = serializers.CharField()
    usageEventId = IdField("usg", source="usage_event_id", allow_null=True)
    idempotencyKey = serializers.CharField(source="idempotency_key", allow_null=True)
    timestamp = InstantField(allow_null=True)
    chargedAt = InstantField(source="created_at")
    quantity = QuantityField(help_text="As it was reported.")
    countedQuantity = QuantityField(
        source="counted", help_text="By how much it moved what the metric came to; the line's quantity is their sum."
    )
    totalPrice = DecimalTextField(source="net")
    totalTax = DecimalTextField(source="tax")
    totalAmount = DecimalTextField(source="gross")

    def to_representation(self, instance: LineCharge) -> dict[str, Any]:
        source_id = ids.text(SOURCES[Charge.Kind(instance.kind)], instance.source_id)
        return super().to_representation({**instance._asdict(), "eventId": source_id})


class LineEventsSerializer(serializers.Serializer[Any]):
    """A page of the charges behind a line, in the order they were made."""

    object = ConstantField("list")
    data = LineEventSerializer(many=True)  # type: ignore[assignment]
    nextPageToken = serializers.CharField(allow_null=True)


# --- requests --------------------------------------------------------------------------------------------


class InvoiceQuerySerializer(PageSerializer):
    """Which invoices to list."""

    merchantId = OwnMerchantField(required=False)
    subscriptionId = IdField("sub", source="subscription_id", required=False)
    status = ChoiceField(choices=WIRE_STATUSES, required=False)


class ExpandSerializer(QuerySerializer):
    """What to show with an invoice."""

    expand = ChoiceField(choices=["lineItems"], required=False)
    lineItemsLimit = QueryWholeField(source="limit", least=1, most=LINES_MAX, default=LINES_DEFAULT)
    lineItemsPageToken = PageTokenField(source="after", default=0)


class LinePageSerializer(QuerySerializer):
    """Which lines to list."""

    limit = QueryWholeField(least=1, most=LINES_MAX, default=LINES_DEFAULT)
    pageToken = PageTokenField(source="after", default=0)


class EventPageSerializer(QuerySerializer):
    """Which charges to list."""

    limit = QueryWholeField(least=1, most=statements.EVENTS_MAX, default=LINES_DEFAULT)
    pageToken = PageTokenField(source="after", default=0)


# --- views -----------------------------------------------------------------------------------------------


class Invoices(TenantView):
    scope = "invoices"

    @extend_schema(
        operation_id="listInvoices", parameters=[InvoiceQuerySerializer], responses=page_of(InvoiceSerializer)
    )
    def get(self, request: Request) -> Response:
        """List invoices, the newest first."""
        query = self.read_query(InvoiceQuerySerializer)
        sought: dict[str, Any] = {name: query[name] for name in ("subscription_id",) if name in query}
        if "status" in query:
            sought["status"] = query["status"].lower()
        rows = statements.search(merchant_id=self.merchant_id, **sought)
        return self.page(_ShownRows(rows), query, InvoiceSerializer)


class _ShownRows:
    """Rows of invoices that look up, for one page at a time, what they are shown with."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def count(self) -> int:
        return int(self._rows.count())

    def __getitem__(self, key: slice) -> list[Shown]:
        return shown_of(list(self._rows[key]))


def shown_of(invoices: list[Invoice]) -> list[Shown]:
    """Look up what invoices are shown with."""
    totals = statements.totals_of(invoices)
    subscriptions = statements.subscriptions_of(invoices)
    behind = statements.behind_since(invoices)
    collected, urls = dunning.of_all(invoices), invoice_sessions.urls_of(invoices)
    return [
        Shown(
            invoice,
            totals[invoice.id],
            subscriptions[invoice.subscription_id],
            behind.get(invoice.id),
            collected.get(invoice.id),
            urls.get(invoice.id),
        )
        for invoice in invoices
    ]


def _line_page(invoice: Invoice, after: int, limit: int) -> LinePage:
    lines = statements.lines_of(invoice)
    until = after + limit
    return LinePage(invoice, lines[after:until], len(lines), str(until) if until < len(lines) else None)


class InvoiceById(TenantView):
    scope = "invoices"

    @extend_schema(operation_id="getInvoice", parameters=[ExpandSerializer], responses=InvoiceSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get an invoice, with its lines where asked for."""
        query = self.read_query(ExpandSerializer)
        invoice = statements.find(merchant_id=self.merchant_id, invoice_id=self.path_id("inv", id))
        (shown,) = shown_of([invoice])
        if "expand" in query:
            page = _line_page(invoice, query["after"], query["limit"])
            shown = replace(shown, line_items=dict(LineItemsSerializer(page).data))
        return self.answer(InvoiceSerializer, shown)


class InvoiceLineItems(TenantView):
    scope = "invoices"

    @extend_schema(operation_id="getInvoiceLineItems", parameters=[LinePageSerializer], responses=LineItemsSerializer)
    def get(self, request: Request, id: str) -> Response:
        """List the lines of an invoice."""
        query = self.read_query(LinePageSerializer)
        invoice = statements.find(merchant_id=self.merchant_id, invoice_id=self.path_id("inv", id))
        return self.answer(LineItemsSerializer, _line_page(invoice, query["after"], query["limit"]))


class LineEvents(TenantView):
    scope = "invoices"

    @extend_schema(
        operation_id="getInvoiceLineItemEvents", parameters=[EventPageSerializer], responses=LineEventsSerializer
    )
    def get(self, request: Request, id: str, line_id: str) -> Response:
        """List the charges behind a line, back to the events they came from."""
        query = self.read_query(EventPageSerializer)
        invoice = statements.find(merchant_id=self.merchant_id, invoice_id=self.path_id("inv", id))
        charges = statements.charges_of(
            invoice=invoice, line_id=self.path_id("line", line_id), after=query["after"], limit=query["limit"]
        )
        token = str(charges[-1].seq) if len(charges) == query["limit"] else None
        return self.answer(LineEventsSerializer, {"data": charges, "nextPageToken": token})


urlpatterns = [
    path("invoices", Invoices.as_view()),
    path("invoices/<str:id>", InvoiceById.as_view()),
    path("invoices/<str:id>/lineItems", InvoiceLineItems.as_view()),
    path("invoices/<str:id>/lineItems/<str:line_id>/events", LineEvents.as_view()),
]
