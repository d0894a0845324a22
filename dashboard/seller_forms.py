"""The form of what documents say of the merchant: identity, taxes, look, numbers and terms."""

from typing import Any

from django import forms

from billing import sellers
from billing.models import Seller
from dashboard import sections
from dashboard.forms import NAME_LENGTH_MAX
from dashboard.sections import ADDRESS, PLAIN, Section


class SellerForm(sections.AddressForm):
    """Who sells, as invoices say it."""

    legal_name = forms.CharField(
        label="Legal name", required=False, max_length=NAME_LENGTH_MAX, help_text="Empty: the organization's name."
    )
    email = forms.EmailField(label="Email on invoices", required=False)
    website = forms.URLField(
        label="Website",
        required=False,
        max_length=sellers.WEBSITE_LENGTH_MAX,
        assume_scheme="https",
        # As text: the browser would refuse one without https:// before we can add it.
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "url"}),
        help_text="https://example.com",
    )
    vat_id = forms.CharField(
        label="VAT id",
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs=PLAIN),
        help_text="Of the EU: DE136695976.",
    )
    tax_number = forms.CharField(
        label="Tax number",
        required=False,
        max_length=40,
        help_text="Of the tax office, or of a country outside the EU.",
    )
    registration = forms.CharField(
        label="Company register", required=False, max_length=80, help_text="Like HRB 12345 B."
    )
    default_tax_rate = forms.DecimalField(
        label="Tax rate of new plans", min_value=0, max_value=100, max_digits=7, decimal_places=4, help_text="Percent."
    )
    bank_account = forms.CharField(
        label="Bank account",
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs=PLAIN),
        help_text="An IBAN, or the account’s number.",
    )
    bank_code = forms.CharField(
        label="BIC or bank code", required=False, max_length=20, widget=forms.TextInput(attrs=PLAIN)
    )
    bank_name = forms.CharField(label="Bank", required=False, max_length=100)
    account_holder = forms.CharField(
        label="Account holder", required=False, max_length=100, help_text="Empty: the legal name."
    )
    accent = forms.CharField(label="Colour", widget=forms.TextInput(attrs={"type": "color"}))
    logo = forms.FileField(
        label="Logo",
        required=False,
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp,image/gif"}),
        help_text="PNG, JPEG, WebP or GIF, up to 2 MB.",
    )
    without_logo = forms.BooleanField(label="Remove the logo", required=False)
    number_prefix = forms.CharField(
        label="Invoice numbers begin with",
        required=False,
        max_length=20,
        strip=True,
        widget=forms.TextInput(attrs=PLAIN),
    )
    credit_note_prefix = forms.CharField(
        label="Credit note numbers begin with", required=False, max_length=20, widget=forms.TextInput(attrs=PLAIN)
    )
    number_digits = forms.IntegerField(label="Digits", min_value=1, max_value=12)
    payment_terms = forms.CharField(
        label="Payment terms", required=False, max_length=500, widget=forms.Textarea(attrs={"rows": 2})
    )
    footer = forms.CharField(
        label="Footer",
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="On each document.",
    )

    def __init__(self, data: Any = None, uploaded: Any = None, *, seller: Seller) -> None:
        fields = (name for name in self.base_fields if hasattr(seller, name))
        initial = {name: getattr(seller, name) for name in fields} | dict(seller.address)
        initial["default_tax_rate"] = f"{seller.default_tax_rate.normalize():f}" if seller.default_tax_rate else "0"
        super().__init__(data, uploaded, initial=initial)
        if not seller.logo_digest:
            del self.fields["without_logo"]

    def sections(self) -> list[Section]:
        """Divide the form as it is shown."""
        return sections.of(
            self,
            ("Who you are", "", ["legal_name", "registration", "email", "website"]),
            ("Address", "", ADDRESS),
            ("Taxes", "", ["vat_id", "tax_number", "default_tax_rate"]),
            (
                "Bank account",
                "Invoices on which something is due say where to send it.",
                ["bank_account", "bank_code", "bank_name", "account_holder"],
            ),
            ("Look", "", ["accent", "logo", "without_logo"]),
            (
                "Numbers",
                "Without gaps, whatever they look like.",
                ["number_prefix", "credit_note_prefix", "number_digits"],
            ),
            ("Words", "", ["payment_terms", "footer"]),
        )

    @staticmethod
    def names() -> dict[str, str]:
        """Return the fields by the names that the activity uses in what it refuses."""
        columns = {sellers.member(name): name for name in SellerForm.base_fields}
        return columns | {f"address.{part}": part for part in ADDRESS}

    def changes(self) -> dict[str, Any]:
        """Return what was typed, by the names that the activity uses."""
        said = {
            name: value for name, value in self.cleaned_data.items() if name not in ("logo", "without_logo", *ADDRESS)
        }
        return said | {"address": self.address()}
