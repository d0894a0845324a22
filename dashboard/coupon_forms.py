"""The forms of coupons, what one is worth and its code, and of how much a customer may owe."""

from typing import Any, Final

from django import forms

from billing import money
from dashboard.forms import NAME_LENGTH_MAX
from merchants.errors import ValidationFailed

_PLAIN: Final = {"autocomplete": "off", "spellcheck": "false"}


class NewCoupon(forms.Form):
    """A discount: a percentage, or an amount in a currency."""

    code = forms.CharField(
        label="Code", max_length=64, help_text="What is typed to redeem it.", widget=forms.TextInput(attrs=_PLAIN)
    )
    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX)
    percent_off = forms.DecimalField(
        label="Percent off",
        required=False,
        max_digits=7,
        decimal_places=4,
        help_text="Of every charge. Give this, or an amount.",
    )
    amount_off = forms.DecimalField(
        label="Amount off", required=False, max_digits=21, decimal_places=9, help_text="Before tax, off each invoice."
    )
    currency = forms.CharField(label="Currency", required=False, max_length=3, help_text="Of the amount, like USD.")
    duration = forms.ChoiceField(
        label="Applies",
        choices=[
            ("once", "Once: for one period, or until the amount is used up"),
            ("repeating", "For some billing periods"),
            ("forever", "Forever"),
        ],
        widget=forms.RadioSelect,
        initial="once",
    )
    periods = forms.IntegerField(
        label="Billing periods", required=False, min_value=1, max_value=120, help_text="Only where it applies for some."
    )
    max_redemptions = forms.IntegerField(
        label="Redemptions at most", required=False, min_value=1, max_value=10**9, help_text="Left empty: any number."
    )

    def clean_currency(self) -> str:
        """Read a currency code, in capitals or not."""
        code = str(self.cleaned_data["currency"]).upper()
        try:
            return money.currency(code) if code else ""
        except ValidationFailed as refusal:
            raise forms.ValidationError(refusal.message) from refusal


class RedeemCoupon(forms.Form):
    """The code of a coupon."""

    code = forms.CharField(label="Code", max_length=64, widget=forms.TextInput(attrs=_PLAIN))


class CreditLimit(forms.Form):
    """How much a customer may owe in one currency."""

    limit = forms.DecimalField(label="Limit", required=False, min_value=0, max_digits=21, decimal_places=9)

    def __init__(self, data: Any = None, *, currency: str, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["limit"].label = f"Limit in {currency}"
        self.fields["limit"].help_text = "Use on invoice beyond it is refused. Left empty: no limit."
