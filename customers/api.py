"""Customers over HTTP."""

from decimal import Decimal
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from customers import addresses, changes, registry, tax_ids
from customers.models import Customer
from customers.registry import TAX_ID_LENGTH_MAX, NewCustomer
from customers.serializers import (
    NAME_LENGTH_MAX,
    PHONE_LENGTH_MAX,
    AddressField,
    ConsumerSerializer,
    EmailField,
    TaxRatesField,
)
from merchants.serializers import (
    BodySerializer,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    TextField,
    page_of,
    refuse,
)
from merchants.tenancy import TenantView

EXTERNAL_ID_LENGTH_MAX = 255
SEARCH_LENGTH_MIN = 3


@extend_schema_field(
    {"oneOf": [{"type": "number"}, {"type": "object", "additionalProperties": {"type": "number"}}, {"type": "null"}]}
)
class ChangedTaxRatesField(TaxRatesField):
    """The same, or one number for everything."""

    def read(self, value: Any, name: str) -> dict[str, Decimal]:
        return super().read(value if isinstance(value, dict | list) else {registry.DEFAULT_RATE: value}, name)


class TaxVerdictSerializer(serializers.Serializer[dict[str, Any]]):
    """Whether it is good for computing tax, and if not, why."""

    valid = serializers.BooleanField()
    message = serializers.CharField(required=False)


@extend_schema_field(TaxVerdictSerializer)
class TaxVerdictField(serializers.ReadOnlyField):
    """What an address is good for."""

    def to_representation(self, value: dict[str, str]) -> dict[str, Any]:
        return addresses.tax_verdict(value)


@extend_schema_field(TaxVerdictSerializer)
class TaxIdVerdictField(serializers.ReadOnlyField):
    """Whether a tax id that looks like a VAT id of the European Union is well formed."""

    def to_representation(self, value: Customer) -> dict[str, Any]:
        return tax_ids.verdict(value.tax_id, value.address.get("country", ""))


@extend_schema_field({"type": "array", "items": {"type": "string", "format": "email"}})
class BillingEmailsField(serializers.ReadOnlyField):
    """The one address that bills go to."""

    def to_representation(self, value: str) -> list[str]:
        return [value]


class OrganizationSerializer(serializers.Serializer[Customer]):
    """Who the customer is."""

    id = IdField("org", source="consumer_id")
    name = TextField()
    billingEmails = BillingEmailsField(source="email")
    phone = TextField()
    address = AddressField()


class NotificationsSerializer(BodySerializer):
    """Which e-mails a customer gets."""

    invoiceIssued = FlagField(required=False)
    invoicePaid = FlagField(required=False)
    renewalReminder = FlagField(required=False)
    lowBalance = FlagField(required=False)


@extend_schema_field(NotificationsSerializer)
class NotificationsField(serializers.ReadOnlyField):
    """Every setting, also those never changed."""

    def to_representation(self, value: dict[str, bool]) -> dict[str, bool]:
        return dict.fromkeys(registry.NOTIFICATIONS, True) | value


class CustomerSerializer(serializers.Serializer[Customer]):
    """A buyer."""

    id = IdField("cus")
    object = ConstantField("customer")
    merchantId = IdField("org", source="merchant_id")
    consumerId = IdField("org", source="consumer_id")
    organization = OrganizationSerializer(source="*")
    externalId = TextField(source="external_id", allow_null=True)
    taxId = TextField(source="tax_id")
    validTaxId = TaxIdVerdictField(source="*")
    taxRates = TaxRatesField(source="tax_rates", allow_null=True)
    validTaxAddress = TaxVerdictField(source="address")
    notificationSettings = NotificationsField(source="notification_settings")
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")


class EnteredCustomerSerializer(serializers.Serializer[Customer]):
    """Which customer it is, new or known."""

    customerId = IdField("cus", source="id")
    validTaxAddress = TaxVerdictField(source="address")


class CreateCustomerSerializer(BodySerializer):
    """A customer to enter: a consumer, or the id of one you manage."""

    merchantId = OwnMerchantField(source="merchant_id")
    consumer = ConsumerSerializer(required=False)
    consumerId = IdField("org", source="consumer_id", required=False)
    taxId = TextField(source="tax_id", length_max=TAX_ID_LENGTH_MAX, required=False)
    externalId = TextField(source="external_id", length_max=EXTERNAL_ID_LENGTH_MAX, required=False)
    taxRates = TaxRatesField(source="tax_rates", required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("consumer" in attrs) == ("consumer_id" in attrs):
            refuse({"consumer": "Give either consumer or consumerId."}, "CONSUMER_REQUIRED")
        return attrs


class UpdateCustomerSerializer(BodySerializer):
    """What to change of a customer; null clears. An address is given whole."""

    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    email = EmailField(required=False)
    phone = TextField(length_min=0, length_max=PHONE_LENGTH_MAX, required=False, allow_null=True)
    address = AddressField(required=False, allow_null=True)
    taxId = TextField(source="tax_id", length_max=TAX_ID_LENGTH_MAX, required=False, allow_null=True)
    externalId = TextField(source="external_id", length_max=EXTERNAL_ID_LENGTH_MAX, required=False, allow_null=True)
    taxRates = ChangedTaxRatesField(source="tax_rates", required=False, allow_null=True)
    notificationSettings = NotificationsSerializer(source="notification_settings", required=False)


class CustomerQuerySerializer(PageSerializer):
    """Which customers to list."""

    organizationId = OwnMerchantField(help_text="Your own merchant id.")
    name = TextField(length_min=SEARCH_LENGTH_MIN, required=False, help_text="Part of the name, in any case.")
    email = TextField(length_min=SEARCH_LENGTH_MIN, required=False, help_text="Part of the address, in any case.")
    externalId = TextField(source="external_id", required=False, help_text="Your own id, exactly.")


# --- views -----------------------------------------------------------------------------------------------


class Customers(TenantView):
    scope = "customers"

    @extend_schema(
        operation_id="listCustomers", parameters=[CustomerQuerySerializer], responses=page_of(CustomerSerializer)
    )
    def get(self, request: Request) -> Response:
        """List customers, the newest first."""
        query = self.read_query(CustomerQuerySerializer)
        sought = {name: query[name] for name in ("name", "email", "external_id") if name in query}
        return self.page(registry.search(merchant_id=self.merchant_id, **sought), query, CustomerSerializer)

    @extend_schema(
        operation_id="createCustomer",
        request=CreateCustomerSerializer,
        responses={200: EnteredCustomerSerializer, 201: EnteredCustomerSerializer},
    )
    def post(self, request: Request) -> Response:
        """Enter a customer, or find the one who has the e-mail address already."""
        body = self.read_body(CreateCustomerSerializer)

        def act() -> tuple[int, type[EnteredCustomerSerializer], Customer]:
            customer, is_new = self._enter(body)
            return 201 if is_new else 200, EnteredCustomerSerializer, customer

        return self.answer_once(act)

    def _enter(self, body: dict[str, Any]) -> tuple[Customer, bool]:
        if "consumer_id" in body:
            named = {name: body[name] for name in ("consumer_id", "external_id") if name in body}
            return registry.enter_managed(merchant_id=self.merchant_id, **named), False
        about = {name: body[name] for name in ("tax_id", "external_id", "tax_rates") if name in body}
        new = NewCustomer(**body["consumer"], **about)
        return registry.enter(merchant_id=self.merchant_id, new=new, now=self.now)


class CustomerById(TenantView):
    scope = "customers"

    @extend_schema(operation_id="getCustomer", responses=CustomerSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a customer."""
        customer_id = self.path_id("cus", id)
        return self.answer(CustomerSerializer, registry.find(merchant_id=self.merchant_id, customer_id=customer_id))

    @extend_schema(operation_id="updateCustomer", request=UpdateCustomerSerializer, responses=CustomerSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Change a customer."""
        customer_id, asked = self.path_id("cus", id), self.read_body(UpdateCustomerSerializer)
        named = {"merchant_id": self.merchant_id, "customer_id": customer_id}
        return self.answer(CustomerSerializer, changes.change(**named, changes=asked, actor=self.actor))

    @extend_schema(operation_id="deleteCustomer", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Delete a customer with whom nothing is open; otherwise 409 names what is."""
        registry.strike_off(merchant_id=self.merchant_id, customer_id=self.path_id("cus", id))
        return Response(status=204)


urlpatterns = [
    path("customers", Customers.as_view()),
    path("customers/<str:id>", CustomerById.as_view()),
]
