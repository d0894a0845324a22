"""What is done with invoices over HTTP: issued, paid, voided, billed anew, written off; and how that is agreed."""

from dataclasses import asdict
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import drafts, invoice_payments, money, pauses, policies, statements, voiding
from billing.api.invoices import InvoiceSerializer, shown_of
from billing.invoice_payments import How, Paid
from billing.models import InvoicePayment, PaymentAttempt
from billing.serializers import DecimalTextField
from merchants import idempotency, rates
from merchants.errors import PaymentDeclined, ValidationFailed
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    TextField,
    WholeField,
    page_of,
)
from merchants.tenancy import TenantView

REASON_LENGTH_MAX = 1_000
REFERENCE_LENGTH_MAX = 255


# --- answers ---------------------------------------------------------------------------------------------


class InvoicePaymentSerializer(serializers.Serializer[InvoicePayment]):
    """Money applied to what is owed on an invoice."""

    id = IdField("ipay")
    object = ConstantField("invoicePayment")
    invoiceId = IdField("inv", source="invoice_id")
    method = serializers.ChoiceField(choices=[kind.value for kind in InvoicePayment.Kind], source="kind")
    amount = DecimalTextField()
    currency = serializers.CharField()
    reference = serializers.CharField()
    paidAt = InstantField(source="paid_at")
    createdAt = InstantField(source="created_at")


class PolicySerializer(serializers.Serializer[Any]):
    """How invoices are issued and collected, from now on."""

    object = ConstantField("billingPolicy")
    netDays = serializers.IntegerField(source="net_days", help_text="In how many days an invoice is due.")
    holdsDrafts = serializers.BooleanField(source="holds_drafts", help_text="Whether invoices wait to be looked at.")
    draftHours = serializers.IntegerField(
        source="draft_hours", allow_null=True, help_text="When a draft is issued by itself; null: only by hand."
    )
    retryDays = serializers.ListField(
        child=serializers.IntegerField(), source="retry_days", help_text="When a card is tried again."
    )
    reminderDays = serializers.ListField(
        child=serializers.IntegerField(),
        source="reminder_days",
        help_text="After it is due; below zero before.",
    )
    finalAction = serializers.ChoiceField(choices=[each.value for each in policies.FinalAction], source="final_action")


class TermsSerializer(serializers.Serializer[Any]):
    """In how many days one customer has to pay; null: as all of yours."""

    object = ConstantField("billingTerms")
    customerId = IdField("cus")
    netDays = serializers.IntegerField(allow_null=True)


# --- requests --------------------------------------------------------------------------------------------


class PayInvoiceSerializer(BodySerializer):
    """How to pay: from the balance what it covers, and the rest by a saved card."""

    amount = AmountField(required=False)
    useBalance = FlagField(source="from_balance", default=True)
    useCard = FlagField(source="by_card", default=True)
    paymentMethodId = IdField("pm", source="method_id", required=False)


class MarkPaidSerializer(BodySerializer):
    """What you were paid past us."""

    amount = AmountField(required=False)
    reference = TextField(length_min=0, length_max=REFERENCE_LENGTH_MAX, default="")
    paidAt = InstantField(source="paid_at", default=None)


class ReasonSerializer(BodySerializer):
    """Why."""

    reason = TextField(length_max=REASON_LENGTH_MAX)


class NothingSerializer(BodySerializer):
    """Nothing is asked for."""


class ChangePolicySerializer(BodySerializer):
    """What to change."""

    merchantId = OwnMerchantField(source="merchant_id", required=False)
    netDays = WholeField(source="net_days", least=0, most=policies.NET_DAYS_MAX, required=False)
    holdsDrafts = FlagField(source="holds_drafts", required=False)
    draftHours = WholeField(
        source="draft_hours", least=1, most=policies.DRAFT_HOURS_MAX, required=False, allow_null=True
    )
    retryDays = serializers.ListField(
        child=WholeField(least=1, most=policies.DAYS_MAX),
        source="retry_days",
        required=False,
        max_length=policies.STEPS_MAX,
    )
    reminderDays = serializers.ListField(
        child=WholeField(least=-policies.DAYS_MAX, most=policies.DAYS_MAX),
        source="reminder_days",
        required=False,
        max_length=policies.STEPS_MAX,
    )
    finalAction = ChoiceField(
        choices=[each.value for each in policies.FinalAction], source="final_action", required=False
    )


class ChangeTermsSerializer(BodySerializer):
    """In how many days the customer has to pay; null: as all of yours."""

    netDays = WholeField(source="net_days", least=0, most=policies.NET_DAYS_MAX, allow_null=True)


# --- views -----------------------------------------------------------------------------------------------


class _Action(TenantView):
    scope = "invoices"

    def show(self, invoice: Any, status: int = 200) -> Response:
        """Answer with an invoice as it is now."""
        (shown,) = shown_of([statements.find(merchant_id=self.merchant_id, invoice_id=invoice.id)])
        return self.answer(InvoiceSerializer, shown, status=status)


class PayInvoice(_Action):
    @extend_schema(
        operation_id="payInvoice",
        request=PayInvoiceSerializer,
        responses={200: InvoiceSerializer, 202: InvoiceSerializer},
    )
    def post(self, request: Request, id: str) -> Response:
        """Pay an invoice, or a part of it; 202 while the bank has not answered. Once a minute for each invoice."""
        invoice_id = self.path_id("inv", id)
        statements.find(merchant_id=self.merchant_id, invoice_id=invoice_id)
        body = self.read_body(PayInvoiceSerializer)
        if "amount" in body:
            body["amount"] = money.to_nanos(body["amount"])
        claim = self.claim()
        if claim is None or idempotency.noted(claim) is None:
            rates.take_one(f"pay:{invoice_id.hex}", merchant_id=self.merchant_id, most=1, seconds=60, now=self.now)
        paid = invoice_payments.pay(merchant_id=self.merchant_id, invoice_id=invoice_id, how=How(**body), claim=claim)
        return self.show(paid.invoice, status=_status(paid))


def _status(paid: Paid) -> int:
    attempt = paid.attempt
    if attempt is None or attempt.state == PaymentAttempt.State.SUCCEEDED:
        return 200
    if attempt.state in (PaymentAttempt.State.DECLINED, PaymentAttempt.State.CANCELLED):
        raise PaymentDeclined(attempt.failure_message or None, details={"failureCode": attempt.failure_code})
    return 202


class MarkInvoicePaid(_Action):
    @extend_schema(operation_id="markInvoicePaid", request=MarkPaidSerializer, responses=InvoiceSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Write down that you were paid past us, by bank transfer say."""
        invoice_id = self.path_id("inv", id)
        body = self.read_body(MarkPaidSerializer)
        body["amount"] = money.to_nanos(body["amount"]) if "amount" in body else None
        if body["paid_at"] is not None and body["paid_at"] > self.now:
            raise ValidationFailed("paidAt lies in the future.", field="paidAt", code="IN_THE_FUTURE")
        invoice = invoice_payments.record_outside(
            merchant_id=self.merchant_id, invoice_id=invoice_id, actor=self.actor, claim=self.claim(), **body
        )
        return self.show(invoice)


class InvoicePayments(TenantView):
    scope = "invoices"

    @extend_schema(
        operation_id="listInvoicePayments", parameters=[PageSerializer], responses=page_of(InvoicePaymentSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """List what was paid on an invoice since it was issued."""
        query = self.read_query(PageSerializer)
        invoice = statements.find(merchant_id=self.merchant_id, invoice_id=self.path_id("inv", id))
        return self.page(invoice_payments.of_invoice(invoice), query, InvoicePaymentSerializer)


class IssueInvoice(_Action):
    @extend_schema(operation_id="issueInvoice", request=NothingSerializer, responses=InvoiceSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Issue a draft."""
        self.read_body(NothingSerializer)
        named = {"merchant_id": self.merchant_id, "invoice_id": self.path_id("inv", id)}
        return self.show(drafts.approve(**named, actor=self.actor))


class VoidInvoice(_Action):
    @extend_schema(operation_id="voidInvoice", request=ReasonSerializer, responses=InvoiceSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Void an issued invoice on which nothing was paid: it keeps its number, and a credit note takes it back."""
        body = self.read_body(ReasonSerializer)
        named = {"merchant_id": self.merchant_id, "invoice_id": self.path_id("inv", id)}
        return self.show(voiding.void(**named, reason=body["reason"], actor=self.actor))


class RegenerateInvoice(_Action):
    @extend_schema(operation_id="regenerateInvoice", request=NothingSerializer, responses={201: InvoiceSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Bill anew what a voided invoice said, under a number of its own; asked again, the same one is shown."""
        self.read_body(NothingSerializer)
        named = {"merchant_id": self.merchant_id, "invoice_id": self.path_id("inv", id)}
        return self.show(voiding.regenerate(**named, actor=self.actor), status=201)


class WriteOffInvoice(_Action):
    @extend_schema(operation_id="writeOffInvoice", request=ReasonSerializer, responses=InvoiceSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Give up what is owed on an invoice: it is booked as bad debt, and nothing more is tried."""
        body = self.read_body(ReasonSerializer)
        named = {"merchant_id": self.merchant_id, "invoice_id": self.path_id("inv", id)}
        return self.show(voiding.write_off(**named, reason=body["reason"], actor=self.actor))


class BillingPolicy(TenantView):
    scope = "invoices"

    @extend_schema(operation_id="getBillingPolicy", responses=PolicySerializer)
    def get(self, request: Request) -> Response:
        """Get how invoices are issued and collected."""
        return self.answer(PolicySerializer, policies.of(self.merchant_id))

    @extend_schema(operation_id="updateBillingPolicy", request=ChangePolicySerializer, responses=PolicySerializer)
    def patch(self, request: Request) -> Response:
        """Change it, for invoices that are issued from now on."""
        changes = self.read_body(ChangePolicySerializer)
        changes.pop("merchant_id", None)  # the caller's own
        policy = policies.change(merchant_id=self.merchant_id, changes=changes, actor=self.actor, now=self.now)
        return self.answer(PolicySerializer, asdict(policy))


class BillingTerms(TenantView):
    scope = "customers"

    @extend_schema(operation_id="updateBillingTerms", request=ChangeTermsSerializer, responses=TermsSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Say in how many days one customer has to pay."""
        customer_id = self.path_id("cus", id)
        net_days = self.read_body(ChangeTermsSerializer)["net_days"]
        policies.set_terms(
            merchant_id=self.merchant_id, customer_id=customer_id, net_days=net_days, actor=self.actor, now=self.now
        )
        return self.answer(TermsSerializer, {"customerId": customer_id, "netDays": net_days})


class PausedSerializer(serializers.Serializer[Any]):
    """Whether a subscription can be used."""

    id = IdField("sub")
    object = ConstantField("subscription")
    status = serializers.ChoiceField(choices=["active", "paused"])


class PauseSubscription(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="pauseSubscription", request=NothingSerializer, responses=PausedSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Let nothing be used or reserved under a subscription until it is resumed; its fees and invoices go on."""
        self.read_body(NothingSerializer)
        named = {"merchant_id": self.merchant_id, "subscription_id": self.path_id("sub", id)}
        return self.answer(PausedSerializer, pauses.pause(**named, actor=self.actor))


class ResumeSubscription(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="resumeSubscription", request=NothingSerializer, responses=PausedSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Have a paused subscription go on."""
        self.read_body(NothingSerializer)
        named = {"merchant_id": self.merchant_id, "subscription_id": self.path_id("sub", id)}
        return self.answer(PausedSerializer, pauses.resume(**named, actor=self.actor))


urlpatterns = [
    path("subscriptions/<str:id>/pause", PauseSubscription.as_view()),
    path("subscriptions/<str:id>/resume", ResumeSubscription.as_view()),
]
urlpatterns_v2 = [
    path("billingPolicy", BillingPolicy.as_view()),
    path("customers/<str:id>/billingTerms", BillingTerms.as_view()),
    path("invoices/<str:id>/pay", PayInvoice.as_view()),
    path("invoices/<str:id>/markPaid", MarkInvoicePaid.as_view()),
    path("invoices/<str:id>/payments", InvoicePayments.as_view()),
    path("invoices/<str:id>/issue", IssueInvoice.as_view()),
    path("invoices/<str:id>/void", VoidInvoice.as_view()),
    path("invoices/<str:id>/regenerate", RegenerateInvoice.as_view()),
    path("invoices/<str:id>/writeOff", WriteOffInvoice.as_view()),
]
