"""The form of what documents say of the merchant: identity, taxes, look, numbers and terms."""

from typing import Any

from django import forms

from billing.models import Seller
from dashboard.forms import NAME_LENGTH_MAX

ADDRESS = ("line1", "line2", "zipCode", "city", "state", "country")
_PLAIN = {"autocomplete": "off", "spellcheck": "false"}


class SellerForm(forms.Form):
    """Who sells, as invoices say it."""

    legal_name = forms.CharField(
        label="Legal name", required=False, max_length=NAME_LENGTH_MAX, help_text="Empty: the organization's name."
    )
    line1 = forms.CharField(label="Street", required=False, max_length=200)
    line2 = forms.CharField(label="More of the address", required=False, max_length=200)
    zipCode = forms.CharField(label="Postal code", required=False, max_length=20)  # noqa: N815 (a part's name)
    city = forms.CharField(label="City", required=False, max_length=100)
    state = forms.CharField(label="State or province", required=False, max_length=100)
    country = forms.CharField(
        label="Country",
        required=False,
        max_length=2,
        widget=forms.TextInput(attrs=_PLAIN),
        help_text="Two letters: DE.",
    )
    email = forms.EmailField(label="Email on invoices", required=False)
    website = forms.CharField(label="Website", required=False, max_length=200)
    vat_id = forms.CharField(
        label="VAT id",
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs=_PLAIN),
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
        widget=forms.TextInput(attrs=_PLAIN),
    )
    credit_note_prefix = forms.CharField(
        label="Credit note numbers begin with", required=False, max_length=20, widget=forms.TextInput(attrs=_PLAIN)
    )
    number_digits = forms.IntegerField(
        label="Digits of numbers", min_value=1, max_value=12, help_text="Numbers have no gaps, whatever they look like."
    )
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

    def changes(self) -> dict[str, Any]:
        """Return what was typed, by the names that the activity uses."""
        said = {
            name: value for name, value in self.cleaned_data.items() if name not in ("logo", "without_logo", *ADDRESS)
        }
        return said | {"address": {part: self.cleaned_data[part] for part in ADDRESS if self.cleaned_data[part]}}
