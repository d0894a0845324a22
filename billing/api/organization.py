"""Who sells, over HTTP: what documents say of the merchant, and where its customers send their money."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import sellers
from billing.models import Seller
from customers.serializers import AddressField, EmailField
from merchants.serializers import (
    BodySerializer,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PercentField,
    TextField,
    WholeField,
)
from merchants.tenancy import TenantView


class OptionalEmailField(EmailField):
    """An e-mail address, or nothing."""

    def read(self, value: Any, name: str) -> str:
        return super().read(value, name) if value != "" else ""


class MerchantDetailsSerializer(serializers.Serializer[Seller]):
    """Who sells, as documents say it from now on."""

    id = IdField("org", source="merchant_id")
    object = ConstantField("organization")
    mode = serializers.ChoiceField(choices=["test", "live"], source="merchant.mode")
    name = serializers.CharField(source="merchant.organization.name")
    timezone = serializers.CharField(source="merchant.organization.timezone")
    legalName = serializers.CharField(source="legal_name", help_text="Empty: the name.")
    address = AddressField()
    email = serializers.CharField()
    website = serializers.CharField()
    vatId = serializers.CharField(source="vat_id", help_text="Of the European Union.")
    taxNumber = serializers.CharField(source="tax_number", help_text="Of the tax office, or of a country outside it.")
    registration = serializers.CharField(help_text="In a register of companies.")
    accountHolder = serializers.CharField(source="account_holder", help_text="Empty: the legal name.")
    bankName = serializers.CharField(source="bank_name")
    bankAccount = serializers.CharField(source="bank_account", help_text="An IBAN, or an account's number.")
    bankCode = serializers.CharField(source="bank_code", help_text="A BIC, or a routing number.")
    accent = serializers.CharField(help_text="The colour of documents, #rrggbb.")
    hasLogo = serializers.SerializerMethodField(help_text="Logos are set in the dashboard.")
    paymentTerms = serializers.CharField(source="payment_terms")
    footer = serializers.CharField()
    defaultTaxRate = PercentField(source="default_tax_rate", help_text="Of plans to come, in percent.")
    invoicePrefix = serializers.CharField(source="number_prefix")
    creditNotePrefix = serializers.CharField(source="credit_note_prefix")
    numberDigits = serializers.IntegerField(source="number_digits")
    usageSince = InstantField(
        source="merchant.usage_since", allow_null=True, help_text="Usage from before is refused; null: none is."
    )

    def get_hasLogo(self, seller: Seller) -> bool:  # noqa: N802 (named after its member)
        return seller.logo_digest is not None


class ChangeMerchantDetailsSerializer(BodySerializer):
    """What to change; an empty string clears."""

    merchantId = OwnMerchantField(source="merchant_id", required=False)
    legalName = TextField(source="legal_name", length_min=0, length_max=200, required=False)
    address = AddressField(required=False)
    email = OptionalEmailField(required=False)
    website = TextField(length_min=0, length_max=sellers.WEBSITE_LENGTH_MAX, required=False)
    vatId = TextField(source="vat_id", length_min=0, length_max=40, required=False)
    taxNumber = TextField(source="tax_number", length_min=0, length_max=40, required=False)
    registration = TextField(length_min=0, length_max=80, required=False)
    accountHolder = TextField(source="account_holder", length_min=0, length_max=100, required=False)
    bankName = TextField(source="bank_name", length_min=0, length_max=100, required=False)
    bankAccount = TextField(source="bank_account", length_min=0, length_max=40, required=False)
    bankCode = TextField(source="bank_code", length_min=0, length_max=20, required=False)
    accent = TextField(length_max=7, required=False)
    paymentTerms = TextField(source="payment_terms", length_min=0, length_max=500, required=False)
    footer = TextField(length_min=0, length_max=500, required=False)
    defaultTaxRate = PercentField(source="default_tax_rate", required=False)
    invoicePrefix = TextField(source="number_prefix", length_min=0, length_max=20, required=False)
    creditNotePrefix = TextField(source="credit_note_prefix", length_min=0, length_max=20, required=False)
    numberDigits = WholeField(source="number_digits", least=1, most=sellers.DIGITS_MAX, required=False)


class OrganizationDetails(TenantView):
    scope = "organization"

    @extend_schema(operation_id="getOrganization", responses=MerchantDetailsSerializer)
    def get(self, request: Request) -> Response:
        """Get who you are on documents."""
        return self.shown()

    @extend_schema(
        operation_id="updateOrganization",
        request=ChangeMerchantDetailsSerializer,
        responses=MerchantDetailsSerializer,
    )
    def patch(self, request: Request) -> Response:
        """Change it, for documents that are issued from now on; the key has to name the scope."""
        changes = self.read_body(ChangeMerchantDetailsSerializer)
        changes.pop("merchant_id", None)  # the caller's own
        sellers.save(merchant_id=self.merchant_id, changes=changes, actor=self.actor, now=self.now)
        return self.shown()

    def shown(self) -> Response:
        """Answer with what holds now."""
        seller = sellers.of(self.merchant_id)
        return self.answer(MerchantDetailsSerializer, seller)


urlpatterns = [path("organization", OrganizationDetails.as_view())]
