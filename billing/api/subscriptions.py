"""Subscriptions over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import money, plans, subscription_reads, subscriptions, test_clocks
from billing.models import Subscription, TrialEnd, TrialUsage
from billing.payments import sessions
from billing.serializers import CurrencyField, MinutesField, NanosTextField, RedirectUrlField
from billing.subscription_reads import Seller
from billing.subscriptions import Agreement, NewSubscription
from customers.registry import NewCustomer
from customers.serializers import ConsumerSerializer, TaxRatesField
from merchants import ids
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
    PercentField,
    TextField,
    WholeField,
    example_id,
    page_of,
    refuse,
)
from merchants.tenancy import TenantView

NAME_LENGTH_MAX = 200
REASON_LENGTH_MAX = 1_000
REMINDER_DAYS_MAX = 30
COUPON_CODE_LENGTH_MAX = 64


_SUBSCRIBED = {
    "name": "Team",
    "planId": example_id("plan"),
    "customerId": example_id("cus"),
    "startedAt": "2026-11-15T12:00:00Z",
}
EXAMPLES = [
    OpenApiExample("In the plan's own currency", _SUBSCRIBED, request_only=True),
    OpenApiExample("In another currency", {**_SUBSCRIBED, "currency": "EUR"}, request_only=True),
]


@extend_schema_field({"type": "number", "example": 8.875})
class EstimatedTaxRateField(serializers.ReadOnlyField):
    """The percentage that a subscription is likely taxed at."""

    def to_representation(self, value: Subscription) -> float:
        return PercentField().to_representation(subscription_reads.estimated_tax_rate(value))


# --- answers ---------------------------------------------------------------------------------------------


class BreakdownSerializer(serializers.Serializer[Any]):
    """What a payment is for, in major units."""

    upfrontCharges = serializers.CharField()
    walletCharge = serializers.CharField()


class FirstPaymentSerializer(serializers.Serializer[Any]):
    """The payment that a subscription waits for; ``paid`` where nothing had to be paid."""

    status = serializers.ChoiceField(choices=["pending", "paid"])
    amount = serializers.CharField()
    invoiceId = serializers.CharField(required=False)
    paymentSessionId = serializers.CharField(required=False)
    checkoutUrl = serializers.CharField(required=False)
    breakdown = BreakdownSerializer(required=False)


class PartySerializer(serializers.Serializer[Any]):
    """A name and an address."""

    id = serializers.CharField()
    name = serializers.CharField()
    email = serializers.CharField()


class SubscribedCustomerSerializer(serializers.Serializer[Any]):
    """Who subscribed, and to whom."""

    id = serializers.CharField()
    merchantId = serializers.CharField()
    merchant = PartySerializer()
    consumer = PartySerializer()


class SubscriptionSerializer(serializers.Serializer[Any]):
    """A customer's agreement to one version of a plan. Balances are in nanos."""

    id = IdField("sub")
    object = ConstantField("subscription")
    merchantId = IdField("org", source="merchant_id")
    customerId = IdField("cus", source="customer_id")
    planId = IdField("plan", source="plan_id")
    planVersion = serializers.IntegerField(
        source="plan_version.number", help_text="The version of the plan that it is charged by now."
    )
    productId = IdField("prod", source="product_id", allow_null=True)
    name = TextField()
    status = ChoiceField(choices=Subscription.Status.choices)
    currency = serializers.CharField()
    startedAt = InstantField(source="started_at")
    endingAt = InstantField(source="ending_at", allow_null=True)
    trialEndsAt = InstantField(source="trial_ends_at", allow_null=True)
    trialUsage = ChoiceField(source="trial_usage", choices=TrialUsage.choices)
    trialEndBehavior = ChoiceField(source="trial_end", choices=TrialEnd.choices)
    currentPeriodStart = InstantField(source="period_start")
    currentPeriodEnd = InstantField(source="period_end")
    autoCharge = FlagField(source="auto_charge")
    taxExempt = FlagField(source="tax_exempt")
    estimatedTaxRate = EstimatedTaxRateField(source="*")
    minimumAccountBalance = NanosTextField(source="minimum_balance")
    prefundAmount = NanosTextField(source="minimum_balance", help_text="Deprecated: see minimumAccountBalance.")
    walletId = IdField("acc", source="prepaid_wallet_id")
    creditWalletId = IdField("acc", source="credit_wallet_id")
    renewalReminderEnabled = FlagField(source="renewal_reminder_enabled", allow_null=True)
    renewalReminderDays = WholeField(source="renewal_reminder_days", least=1, most=REMINDER_DAYS_MAX, allow_null=True)
    terminatedAt = InstantField(source="terminated_at", allow_null=True)
    terminatedBy = TextField(source="terminated_by")
    terminationReason = TextField(source="termination_reason")
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")
    payment = FirstPaymentSerializer(
        required=False, allow_null=True, help_text="Of a single subscription that waits for it, or is new."
    )
    customer = SubscribedCustomerSerializer(required=False, help_text="Where it is asked for with include=customer.")

    def to_representation(self, instance: Subscription | Agreement) -> dict[str, Any]:
        if isinstance(instance, Agreement):
            return super().to_representation(instance.subscription) | {"payment": _payment(instance)}
        shown: dict[str, Any] = super().to_representation(instance)
        if "seller" in self.context:
            shown["customer"] = _parties(instance, self.context["seller"])
        return shown


def _payment(agreement: Agreement) -> dict[str, Any] | None:
    subscription, due = agreement.subscription, agreement.due
    if due is None:
        return None
    if subscription.status == Subscription.Status.ACTIVE:
        invoice = {"invoiceId": ids.text("inv", subscription.invoice_id)} if subscription.invoice_id else {}
        return {"status": "paid", "amount": money.from_nanos(0), **invoice}
    shown: dict[str, Any] = {
        "status": "pending",
        "amount": money.from_nanos(due.total),
        "breakdown": {"upfrontCharges": money.from_nanos(due.fees), "walletCharge": money.from_nanos(due.wallet)},
    }
    if agreement.session is not None:
        shown["paymentSessionId"] = ids.text("ps", agreement.session.id)
        shown["checkoutUrl"] = sessions.url(agreement.session)
    return shown


def _parties(subscription: Any, seller: Seller) -> dict[str, Any]:
    merchant_id = ids.text("org", subscription.merchant_id)
    return {
        "id": ids.text("cus", subscription.customer_id),
        "merchantId": merchant_id,
        "merchant": {"id": merchant_id, "name": seller.name, "email": seller.email},
        "consumer": {
            "id": ids.text("org", subscription.consumer_id),
            "name": subscription.customer_name,
            "email": subscription.customer_email,
        },
    }


# --- requests --------------------------------------------------------------------------------------------


class SubscribingCustomerSerializer(ConsumerSerializer):
    """A customer to enter, or to find by the e-mail address."""

    taxRates = TaxRatesField(source="tax_rates", required=False)


class RedirectUrlsSerializer(BodySerializer):
    """Where the customer goes from the checkout page."""

    onSuccess = RedirectUrlField(required=False)
    onFailure = RedirectUrlField(required=False)


class _MinimumBalance(BodySerializer):
    """A minimum balance under its name or the one it had before."""

    minimumAccountBalance = AmountField(source="minimum_balance", required=False)
    prefundAmount = AmountField(source="prefund", required=False, help_text="Deprecated: see minimumAccountBalance.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        prefund = attrs.pop("prefund", None)
        if prefund is not None and attrs.setdefault("minimum_balance", prefund) != prefund:
            refuse({"prefundAmount": "This differs from minimumAccountBalance."}, "CONTRADICTION")
        if "minimum_balance" in attrs:
            attrs["minimum_balance"] = money.to_nanos(attrs["minimum_balance"])
        return attrs


class CreateSubscriptionSerializer(_MinimumBalance):
    """A subscription of a customer who exists, or of one to enter."""

    name = TextField(length_max=NAME_LENGTH_MAX)
    planId = IdField("plan", source="plan_id")
    currency = CurrencyField(
        required=False, help_text="One of the plan's `currencies`; left out: its own. Its wallet is used, or made."
    )
    customerId = IdField("cus", source="customer_id", required=False)
    customer = SubscribingCustomerSerializer(required=False)
    startedAt = InstantField(source="started_at")
    endingAt = InstantField(source="ending_at", required=False, allow_null=True)
    autoCharge = FlagField(source="auto_charge", required=False)
    taxExempt = FlagField(source="tax_exempt", required=False)
    redirectUrls = RedirectUrlsSerializer(source="redirect_urls", required=False)
    renewalReminderEnabled = FlagField(source="renewal_reminder_enabled", required=False, allow_null=True)
    renewalReminderDays = WholeField(
        source="renewal_reminder_days", least=1, most=REMINDER_DAYS_MAX, required=False, allow_null=True
    )
    sessionExpiryMinutes = MinutesField(source="session_expiry", required=False)
    couponCode = TextField(
        source="coupon_code",
        length_max=COUPON_CODE_LENGTH_MAX,
        required=False,
        help_text="Redeemed as the subscription is made, so that it holds for the first period and its fees.",
    )
    trialDays = WholeField(
        source="trial_days", least=0, most=plans.TRIAL_DAYS_MAX, required=False, help_text="Left out: as the plan says."
    )
    trialEndsAt = InstantField(source="trial_ends_at", required=False, help_text="Instead of trialDays.")
    trialUsage = ChoiceField(source="trial_usage", choices=TrialUsage.choices, required=False)
    trialEndBehavior = ChoiceField(source="trial_end", choices=TrialEnd.choices, required=False)
    testClockId = IdField(
        "tc", source="test_clock_id", required=False, allow_null=True, help_text="Of the customer's first subscription."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "trial_days" in attrs and "trial_ends_at" in attrs:
            refuse({"trialDays": "Give either trialDays or trialEndsAt."}, "CONTRADICTION")
        if ("customer" in attrs) == ("customer_id" in attrs):
            refuse({"customerId": "Give either customerId or customer."}, "CUSTOMER_REQUIRED")
        return super().validate(attrs)


class UpdateSubscriptionSerializer(_MinimumBalance):
    """What to change of a subscription; a status of terminated ends it, and needs a reason."""

    autoCharge = FlagField(source="auto_charge", required=False)
    taxExempt = FlagField(source="tax_exempt", required=False)
    renewalReminderEnabled = FlagField(source="renewal_reminder_enabled", required=False, allow_null=True)
    renewalReminderDays = WholeField(
        source="renewal_reminder_days", least=1, most=REMINDER_DAYS_MAX, required=False, allow_null=True
    )
    status = ChoiceField(choices=["active", "terminated"], required=False)
    reason = TextField(length_max=REASON_LENGTH_MAX, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs.get("status") == "terminated") != ("reason" in attrs):
            refuse({"reason": "A reason is required to terminate, and only then."}, "REASON_REQUIRED")
        return super().validate(attrs)


class TerminationSerializer(BodySerializer):
    """Why a subscription ends."""

    reason = TextField(length_max=REASON_LENGTH_MAX)


class SubscriptionQuerySerializer(PageSerializer):
    """Which subscriptions to list."""

    merchantId = OwnMerchantField(required=False)
    customerId = IdField("cus", source="customer_id", required=False)
    consumerId = IdField("org", source="consumer_id", required=False)
    status = ChoiceField(choices=Subscription.Status.choices, required=False)
    startedBefore = InstantField(source="started_before", required=False)
    include = ChoiceField(choices=["customer"], required=False)


# --- views -----------------------------------------------------------------------------------------------


class Subscriptions(TenantView):
    scope = "subscriptions"

    @extend_schema(
        operation_id="listSubscriptions",
        parameters=[SubscriptionQuerySerializer],
        responses=page_of(SubscriptionSerializer),
    )
    def get(self, request: Request) -> Response:
        """List subscriptions, the newest first."""
        query = self.read_query(SubscriptionQuerySerializer)
        sought = {
            name: query[name] for name in ("customer_id", "consumer_id", "status", "started_before") if name in query
        }
        rows = subscription_reads.search(merchant_id=self.merchant_id, **sought)
        if "include" not in query:
            return self.page(rows, query, SubscriptionSerializer)
        seller = subscription_reads.seller(merchant_id=self.merchant_id)
        return self.page(subscription_reads.with_customers(rows), query, SubscriptionSerializer, seller=seller)

    @extend_schema(
        operation_id="createSubscription",
        request=CreateSubscriptionSerializer,
        responses={200: SubscriptionSerializer, 201: SubscriptionSerializer},
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        """Subscribe a customer to a plan, or find the subscription to it that they have.

        A plan that is on offer in several currencies is subscribed to in one of them, for good; with another one the
        answer is 422 `CURRENCY_NOT_OFFERED`, whose `details.currencies` are those it is on offer in.
        """
        body = self.read_body(CreateSubscriptionSerializer)
        known, given = body.pop("customer_id", None), body.pop("customer", None)
        clock_id = body.pop("test_clock_id", None)

        def act() -> tuple[int, type[SubscriptionSerializer], Agreement]:
            agreement = test_clocks.subscribe(
                merchant_id=self.merchant_id,
                customer=known or NewCustomer(**given),
                clock_id=clock_id,
                new=NewSubscription(**body),
                now=self.now,
            )
            return 201 if agreement.is_new else 200, SubscriptionSerializer, agreement

        return self.answer_once(act)


class SubscriptionById(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="getSubscription", responses=SubscriptionSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a subscription, and the payment it waits for."""
        found = subscriptions.look_up(merchant_id=self.merchant_id, subscription_id=self.path_id("sub", id))
        return self.answer(SubscriptionSerializer, found)

    @extend_schema(
        operation_id="updateSubscription", request=UpdateSubscriptionSerializer, responses=SubscriptionSerializer
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change a subscription, or end it."""
        subscription_id, changes = self.path_id("sub", id), self.read_body(UpdateSubscriptionSerializer)
        named = {"merchant_id": self.merchant_id, "subscription_id": subscription_id}
        changed = subscriptions.change(**named, changes=changes, actor=self.actor)
        return self.answer(SubscriptionSerializer, changed)


class Termination(TenantView):
    scope = "subscriptions"

    @extend_schema(
        operation_id="terminateSubscription",
        request=TerminationSerializer,
        responses={200: SubscriptionSerializer},
    )
    def post(self, request: Request, id: str) -> Response:
        """End a subscription now."""
        subscription_id, body = self.path_id("sub", id), self.read_body(TerminationSerializer)

        def act() -> tuple[int, type[SubscriptionSerializer], Subscription]:
            ended = subscriptions.terminate(
                merchant_id=self.merchant_id, subscription_id=subscription_id, reason=body["reason"]
            )
            return 200, SubscriptionSerializer, ended

        return self.answer_once(act)


urlpatterns = [
    path("subscriptions", Subscriptions.as_view()),
    path("subscriptions/<str:id>", SubscriptionById.as_view()),
    path("subscriptions/<str:id>/termination", Termination.as_view()),
]
