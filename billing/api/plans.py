"""Plans over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import archiving, plans
from billing.api.prices import AppliesToField, PriceSerializer
from billing.models import PaymentTerm, PlanVersion, TrialEnd, TrialUsage
from billing.models.catalogue import TaxBehavior
from billing.plans import CADENCES, INTERVALS, AppliesTo, NewPlan
from billing.serializers import CurrencyField
from customers import registry
from merchants import products
from merchants.errors import ValidationFailed
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    PercentField,
    StrictField,
    TextField,
    WholeField,
    id_schema,
    page_of,
)
from merchants.tenancy import TenantView

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 2_000
TAX_CODE_LENGTH_MAX = 40
REMINDER_DAYS_MAX = 30
SEARCH_LENGTH_MAX = 100

_INTERVAL_OF = {cadence: name for name, cadence in reversed(INTERVALS.items())}


# --- fields ----------------------------------------------------------------------------------------------


@extend_schema_field({"type": "array", "items": {"type": "string", "pattern": "^[A-Z]{3}$"}, "example": ["USD", "EUR"]})
class CurrenciesField(serializers.ReadOnlyField):
    """The currencies that a plan is on offer in, its own first."""

    def to_representation(self, value: Any) -> list[str]:
        return [value.currency, *value.other_currencies]


@extend_schema_field({"type": "array", "items": id_schema("price"), "maxItems": plans.PRICES_PER_PLAN_MAX})
class PriceIdsField(StrictField):
    """Ids of prices."""

    def read(self, value: Any, name: str) -> list[Any]:
        if type(value) is not list or len(value) > plans.PRICES_PER_PLAN_MAX:
            message = f"{name} must be a list of at most {plans.PRICES_PER_PLAN_MAX} ids."
            raise ValidationFailed(message, field=name, code="INVALID_PRICES")
        price = IdField("price")
        return [price.read(member, f"{name}.{index}") for index, member in enumerate(value)]


@extend_schema_field({"type": "string", "enum": ["monthly", "quarterly", "yearly"], "example": "monthly"})
class IntervalField(serializers.ReadOnlyField):
    """The billing cadence, as a word."""

    def to_representation(self, value: str) -> str:
        return _INTERVAL_OF[value]


@extend_schema_field(
    {"type": "object", "properties": {"instant": {"type": "boolean"}, "in_arrears": {"type": "boolean"}}}
)
class TermsField(serializers.ReadOnlyField):
    """Which payment terms the plan's prices have."""

    def to_representation(self, value: Any) -> dict[str, bool]:
        terms = {price.payment_term for price in value.all()}
        return {term.value: term in terms for term in (PaymentTerm.INSTANT, PaymentTerm.IN_ARREARS)}


# --- bodies ----------------------------------------------------------------------------------------------


class PlanSerializer(serializers.Serializer[PlanVersion]):
    """What a customer can subscribe to: the newest version of a plan, with its prices."""

    id = IdField("plan", source="plan_id")
    object = ConstantField("plan")
    merchantId = IdField("org", source="plan.merchant_id")
    productId = IdField("prod", source="plan.product_id")
    name = TextField(source="plan.name")
    description = TextField(source="plan.description")
    invoiceDisplayName = TextField(source="plan.invoice_display_name", allow_null=True)
    currency = CurrencyField(help_text="The plan's own, in which `properties` of prices are.")
    currencies = CurrenciesField(
        source="*", help_text="Those it is on offer in: its own, and those that all its prices have an option for."
    )
    billingCadence = ChoiceField(source="billing_cadence", choices=CADENCES)
    billingInterval = IntervalField(source="billing_cadence")
    paymentTerm = TermsField(source="prices")
    prices = PriceSerializer(many=True)
    taxBehavior = ChoiceField(source="tax_behavior", choices=TaxBehavior.choices)
    defaultTaxCode = TextField(source="default_tax_code")
    defaultTaxRate = PercentField(source="default_tax_rate")
    trialDays = WholeField(source="trial_days", least=0, most=plans.TRIAL_DAYS_MAX)
    trialUsage = ChoiceField(source="trial_usage", choices=TrialUsage.choices)
    trialEndBehavior = ChoiceField(source="trial_end", choices=TrialEnd.choices)
    renewalReminderEnabled = FlagField(source="plan.renewal_reminder_enabled")
    renewalReminderDays = WholeField(source="plan.renewal_reminder_days", least=1, most=REMINDER_DAYS_MAX)
    billingVersion = ConstantField(0)
    version = serializers.IntegerField(source="number", help_text="Grows with every change that concerns money.")
    createdAt = InstantField(source="plan.created_at")
    updatedAt = InstantField(source="plan.updated_at")
    deletedAt = InstantField(source="plan.deleted_at", allow_null=True, help_text="Since when it is archived.")


class _PlanTerms(BodySerializer):
    """What may be said of a plan that is new, and may change."""

    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)
    invoiceDisplayName = TextField(
        source="invoice_display_name", length_min=0, length_max=NAME_LENGTH_MAX, required=False
    )
    prices = PriceIdsField(required=False, help_text="All prices of the plan, not only what to add.")
    billingCadence = ChoiceField(source="billing_cadence", choices=CADENCES, required=False)
    billingInterval = ChoiceField(choices=list(INTERVALS), required=False, help_text="billingCadence, as a word.")
    taxBehavior = ChoiceField(source="tax_behavior", choices=TaxBehavior.choices, required=False)
    defaultTaxCode = TextField(source="default_tax_code", length_max=TAX_CODE_LENGTH_MAX, required=False)
    defaultTaxRate = PercentField(source="default_tax_rate", required=False)
    trialDays = WholeField(
        source="trial_days",
        least=0,
        most=plans.TRIAL_DAYS_MAX,
        required=False,
        help_text="Days that new subscriptions are on trial: one period, before any fee.",
    )
    trialUsage = ChoiceField(
        source="trial_usage", choices=TrialUsage.choices, required=False, help_text="Whether use in a trial is charged."
    )
    trialEndBehavior = ChoiceField(
        source="trial_end",
        choices=TrialEnd.choices,
        required=False,
        help_text="What the wallet does not cover when a trial ends is owed on the `invoice`, or has the subscription "
        "`terminate`.",
    )
    renewalReminderEnabled = FlagField(source="renewal_reminder_enabled", required=False)
    renewalReminderDays = WholeField(source="renewal_reminder_days", least=1, most=REMINDER_DAYS_MAX, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Read the interval as the cadence it stands for, unless a cadence is given."""
        interval = attrs.pop("billingInterval", None)
        return attrs if interval is None else {"billing_cadence": INTERVALS[interval], **attrs}


class UpdatePlanSerializer(_PlanTerms):
    """What to change of a plan; what concerns money becomes its next version."""

    appliesTo = AppliesToField()


class CreatePlanSerializer(_PlanTerms):
    """A new plan."""

    merchantId = OwnMerchantField(source="merchant_id")
    name = TextField(length_max=NAME_LENGTH_MAX)
    currency = CurrencyField()
    productId = IdField("prod", source="product_id", required=False, help_text="Left out, the prices tell it.")
    billingVersion = ConstantField(0, required=False)


class PlanQuerySerializer(PageSerializer):
    """Which plans to list."""

    merchantId = OwnMerchantField(required=False)
    productId = IdField("prod", required=False)
    status = ChoiceField(choices=["active", "archived"], required=False, help_text="`active` unless said otherwise.")


class AvailablePlanQuerySerializer(PageSerializer):
    """For whom to list plans."""

    customerId = IdField("cus")
    productId = IdField("prod", required=False)
    search = TextField(length_max=SEARCH_LENGTH_MAX, required=False, help_text="Part of a plan's name, in any case.")


# --- routes ----------------------------------------------------------------------------------------------


class Plans(TenantView):
    scope = "plans"

    @extend_schema(operation_id="listPlans", parameters=[PlanQuerySerializer], responses=page_of(PlanSerializer))
    def get(self, request: Request) -> Response:
        """List the plans, the oldest first."""
        query = self.read_query(PlanQuerySerializer)
        select = plans.archived if query.get("status") == "archived" else plans.current
        rows = select(merchant_id=self.merchant_id)
        if "productId" in query:
            rows = rows.filter(plan__product=products.get(merchant_id=self.merchant_id, product_id=query["productId"]))
        return self.page(rows, query, PlanSerializer)

    @extend_schema(operation_id="createPlan", request=CreatePlanSerializer, responses={201: PlanSerializer})
    def post(self, request: Request) -> Response:
        """Create a plan."""
        body = self.read_body(CreatePlanSerializer)
        merchant_id, new = body.pop("merchant_id"), NewPlan(**body)

        def create() -> PlanVersion:
            return plans.create(merchant_id=merchant_id, new=new, actor=self.actor, now=self.now)

        return self.answer_once(lambda: (201, PlanSerializer, create()))


class AvailablePlans(TenantView):
    scope = "plans"

    @extend_schema(
        operation_id="listAvailablePlans",
        parameters=[AvailablePlanQuerySerializer],
        responses=page_of(PlanSerializer),
    )
    def get(self, request: Request) -> Response:
        """List the plans of products that a customer is not subscribed to."""
        query = self.read_query(AvailablePlanQuerySerializer)
        customer = registry.find(merchant_id=self.merchant_id, customer_id=query["customerId"])
        rows = plans.available(merchant_id=self.merchant_id, bucket=customer.bucket, customer_id=customer.id)
        if "productId" in query:
            rows = rows.filter(plan__product=products.get(merchant_id=self.merchant_id, product_id=query["productId"]))
        if "search" in query:
            rows = rows.filter(plan__name__icontains=query["search"])
        return self.page(rows, query, PlanSerializer)


class PlanById(TenantView):
    scope = "plans"

    @extend_schema(operation_id="getPlan", responses=PlanSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a plan, also one that is archived: subscribers may have it."""
        plan_id = self.path_id("plan", id)
        return self.answer(PlanSerializer, plans.find(merchant_id=self.merchant_id, plan_id=plan_id))

    @extend_schema(operation_id="updatePlan", request=UpdatePlanSerializer, responses=PlanSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Change a plan, for new subscriptions, or for all subscribers from their next period on.

        With `appliesTo: next_period` they move to the newest version, also to one that was only for new subscriptions
        before. Cadence and tax behaviour change for new subscriptions only.
        """
        plan_id, changes = self.path_id("plan", id), self.read_body(UpdatePlanSerializer)
        applies_to = changes.pop("applies_to", AppliesTo.NEW_SUBSCRIPTIONS)
        edit = {"changes": changes, "applies_to": applies_to, "actor": self.actor, "now": self.now}
        changed = plans.update(merchant_id=self.merchant_id, plan_id=plan_id, **edit)
        return self.answer(PlanSerializer, changed)

    @extend_schema(operation_id="archivePlan", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Take a plan off offer: nobody subscribes or changes to it any more, and whoever is subscribed keeps it."""
        plan_id = self.path_id("plan", id)
        archiving.archive(merchant_id=self.merchant_id, plan_id=plan_id, actor=self.actor, now=self.now)
        return Response(status=204)


class PlanUnarchiving(TenantView):
    scope = "plans"

    @extend_schema(operation_id="unarchivePlan", request=None, responses=PlanSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Put an archived plan back on offer, at the prices that it has by now; one that is on offer stays as it is."""
        plan_id = self.path_id("plan", id)
        put_back = archiving.unarchive(merchant_id=self.merchant_id, plan_id=plan_id, actor=self.actor, now=self.now)
        return self.answer(PlanSerializer, put_back)


urlpatterns = [
    path("plans", Plans.as_view()),
    path("plans/available", AvailablePlans.as_view()),
    path("plans/<str:id>", PlanById.as_view()),
    path("plans/<str:id>/unarchive", PlanUnarchiving.as_view()),
]
