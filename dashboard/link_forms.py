"""The forms of payment links, authorization links, and the sites that a merchant trusts."""

from collections.abc import Sequence
from typing import Any, Final

from django import forms

from billing import money
from dashboard.forms import offer
from merchants import origins
from merchants.errors import ValidationFailed

_PLAIN: Final = {"autocomplete": "off", "spellcheck": "false"}
_AMOUNT: Final = {"placeholder": "25.00", "inputmode": "decimal", "step": "any"}
DESCRIPTION_LENGTH_MAX = 500


class NewPaymentLink(forms.Form):
    """A price tag that whoever has the link may pay."""

    description = forms.CharField(label="What is sold", max_length=DESCRIPTION_LENGTH_MAX)
    amount = forms.DecimalField(
        label="Amount", min_value=0, max_digits=12, decimal_places=2, widget=forms.NumberInput(attrs=_AMOUNT)
    )
    currency = forms.CharField(label="Currency", max_length=3, initial="USD", widget=forms.TextInput(attrs=_PLAIN))
    max_uses = forms.IntegerField(
        label="Payments at most", required=False, min_value=1, max_value=1_000_000, help_text="Left empty: any number."
    )
    resource_content = forms.CharField(
        label="Shown after payment",
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="A download address, a code, a text: whoever has paid sees it, and nobody before.",
    )
    success_url = forms.URLField(
        label="Where payers go afterwards",
        required=False,
        max_length=2_000,
        assume_scheme="https",
        help_text="On a site that you allow in the settings.",
    )

    def clean_currency(self) -> str:
        """Read a currency code, in capitals or not."""
        try:
            return money.currency(str(self.cleaned_data["currency"]).upper())
        except ValidationFailed as refusal:
            raise forms.ValidationError(refusal.message) from refusal

    def clean_resource_content(self) -> str:
        """Keep lines as one character each, as they are counted and shown."""
        return str(self.cleaned_data["resource_content"]).replace("\r\n", "\n")


class NewAuthorization(forms.Form):
    """An invitation of one person to one plan."""

    email = forms.EmailField(label="Email", help_text="The link works for this person alone, and once.")
    plan = forms.TypedChoiceField(label="Plan")
    minimum_balance = forms.DecimalField(
        label="Balance to begin with",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
        widget=forms.NumberInput(attrs=_AMOUNT),
        help_text="Paid at the start. Left empty: none.",
    )
    auto_charge = forms.BooleanField(
        label="Charge the card of the first payment automatically",
        required=False,
        help_text="For invoices, and to fill the balance up again at each renewal. The person agrees to it.",
    )
    redirect_url = forms.URLField(
        label="Where the person goes afterwards",
        required=False,
        max_length=2_000,
        assume_scheme="https",
        help_text="On a site that you allow in the settings.",
    )

    def __init__(self, data: Any = None, *, plans: Sequence[Any], **options: Any) -> None:
        super().__init__(data, **options)
        offer(self.fields["plan"], plans, "Choose a plan")


class AllowedOrigins(forms.Form):
    """The sites that a merchant trusts, one on each line."""

    origins = forms.CharField(
        label="Sites",
        required=False,
        max_length=origins.ORIGINS_MAX * 220,
        widget=forms.Textarea(attrs={"rows": 5, "class": "source", "placeholder": "https://shop.example"}),
        help_text="One on each line, without a path.",
    )
