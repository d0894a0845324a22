"""Credit notes over HTTP."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import credit_notes, credit_reads, money
from billing.credit_notes import NewCreditNote, Reason, To
from billing.models import CreditNote, CreditNoteLine
from billing.serializers import DecimalTextField, FractionField
from merchants.errors import ValidationFailed
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    TextField,
    page_of,
)
from merchants.tenancy import TenantView

LINES_MAX = 1_000
MEMO_LENGTH_MAX = 1_000
# A void is made by voiding the invoice.
REASONS = [reason.value for reason in Reason if reason != Reason.VOID]


@dataclass(frozen=True, slots=True)
class Shown:
    """A credit note with its lines."""

    note: CreditNote
    lines: list[CreditNoteLine]


# --- answers ---------------------------------------------------------------------------------------------


class CreditNoteLineSerializer(serializers.Serializer[Any]):
    """What is given back of one line of the invoice."""

    lineItemId = IdField("line", source="invoice_line_id")
    displayName = serializers.CharField(source="description")
    taxRate = FractionField(source="tax_rate")
    totalPrice = DecimalTextField(source="net")
    totalTax = DecimalTextField(source="tax")
    totalAmount = DecimalTextField(source="gross")


class CreditNoteSerializer(serializers.Serializer[Any]):
    """A document that takes something off an issued invoice. Its amounts are above zero."""

    id = IdField("cn")
    object = ConstantField("creditNote")
    merchantId = IdField("org", source="merchant_id")
    customerId = IdField("cus", source="customer_id")
    subscriptionId = IdField("sub", source="subscription_id")
    invoiceId = IdField("inv", source="invoice_id")
    creditNoteNumber = serializers.CharField(source="number")
    reason = serializers.ChoiceField(choices=[reason.value for reason in Reason])
    memo = serializers.CharField(help_text="Empty where nothing was said.")
    currency = serializers.CharField()
    subtotal = DecimalTextField()
    totalTax = DecimalTextField(source="total_tax")
    rounding = DecimalTextField(help_text="What whole minor units add to what comes off the debt.")
    grandTotal = DecimalTextField(source="total")
    receivableAmount = DecimalTextField(source="to_receivable", help_text="Off what is owed on the invoice.")
    balanceAmount = DecimalTextField(source="to_balance", help_text="To the prepaid balance.")
    cardAmount = DecimalTextField(source="to_card", help_text="Back to the card that paid.")
    refundId = IdField("re", source="refund_id", allow_null=True, help_text="Of the payment that goes back.")
    issuedAt = InstantField(source="issued_at")
    lines = CreditNoteLineSerializer(many=True, required=False)

    def to_representation(self, instance: Shown) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance.note)
        return shown | {"lines": CreditNoteLineSerializer(instance.lines, many=True).data}


# --- requests --------------------------------------------------------------------------------------------


class CreditedLineSerializer(BodySerializer):
    """How much of a line to give back, tax included."""

    lineItemId = IdField("line")
    amount = AmountField()


class CreateCreditNoteSerializer(BodySerializer):
    """What to give back of an invoice: all that is left, or so much of some lines."""

    reason = ChoiceField(choices=REASONS)
    memo = TextField(length_min=0, length_max=MEMO_LENGTH_MAX, required=False, default="")
    destination = ChoiceField(
        choices=[each.value for each in To],
        default=To.AUTO.value,
        help_text="`auto` takes it off what is owed first, and gives the rest to the balance.",
    )
    lines = serializers.ListField(child=CreditedLineSerializer(), required=False, min_length=1, max_length=LINES_MAX)


class CreditNoteQuerySerializer(PageSerializer):
    """Which credit notes to list."""

    merchantId = OwnMerchantField(required=False)
    invoiceId = IdField("inv", source="invoice_id", required=False)


# --- views -----------------------------------------------------------------------------------------------


class CreditNotes(TenantView):
    scope = "invoices"

    @extend_schema(
        operation_id="listCreditNotes", parameters=[CreditNoteQuerySerializer], responses=page_of(CreditNoteSerializer)
    )
    def get(self, request: Request) -> Response:
        """List credit notes, the newest first."""
        query = self.read_query(CreditNoteQuerySerializer)
        sought = {name: query[name] for name in ("invoice_id",) if name in query}
        rows = credit_reads.search(merchant_id=self.merchant_id, **sought)
        return self.page(_ShownRows(rows), query, CreditNoteSerializer)


class _ShownRows:
    """Rows of credit notes whose lines are looked up for one page at a time."""

    def __init__(self, rows: QuerySet[CreditNote]) -> None:
        self._rows = rows

    def count(self) -> int:
        return self._rows.count()

    def __getitem__(self, key: slice) -> list[Shown]:
        notes = list(self._rows[key])
        lines = credit_reads.lines_of_all(notes)
        return [Shown(note, lines[note.id]) for note in notes]


class CreditNoteById(TenantView):
    scope = "invoices"

    @extend_schema(operation_id="getCreditNote", responses=CreditNoteSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a credit note."""
        note = credit_reads.find(merchant_id=self.merchant_id, credit_note_id=self.path_id("cn", id))
        return self.answer(CreditNoteSerializer, Shown(note, credit_reads.lines_of(note)))


class InvoiceCreditNotes(TenantView):
    scope = "invoices"

    @extend_schema(
        operation_id="createCreditNote", request=CreateCreditNoteSerializer, responses={201: CreditNoteSerializer}
    )
    def post(self, request: Request, id: str) -> Response:
        """Credit an issued invoice, in whole or in part."""
        invoice_id = self.path_id("inv", id)
        body = self.read_body(CreateCreditNoteSerializer)
        new = NewCreditNote(
            invoice_id=invoice_id,
            reason=Reason(body["reason"]),
            amounts=_amounts(body["lines"]) if "lines" in body else None,
            memo=body["memo"],
            to=To(body["destination"]),
        )
        made: list[CreditNote] = []

        def act() -> tuple[int, type[CreditNoteSerializer], Shown]:
            made.append(credit_notes.issue(merchant_id=self.merchant_id, new=new, actor=self.actor))
            return 201, CreditNoteSerializer, Shown(made[0], credit_reads.lines_of(made[0]))

        answer = self.answer_once(act)
        for note in made:
            credit_notes.send_refund(note)  # after the transaction: the provider is asked
        return answer


def _amounts(lines: list[dict[str, Any]]) -> dict[Any, int]:
    amounts = {line["lineItemId"]: money.to_nanos(line["amount"]) for line in lines}
    if len(amounts) < len(lines):
        raise ValidationFailed("Name each line once.", field="lines", code="REPEATED_LINE")
    return amounts


urlpatterns = [
    path("creditNotes", CreditNotes.as_view()),
    path("creditNotes/<str:id>", CreditNoteById.as_view()),
    path("invoices/<str:id>/creditNotes", InvoiceCreditNotes.as_view()),
]
