"""The forms of fees and commitments: one amount, in each of the currencies that the plan is to be on offer in."""

from collections.abc import Mapping
from typing import Any

from django import forms

from billing.models import PaymentTerm, PriceVersion
from dashboard.currency_forms import Amounts, name_in
from dashboard.forms import FEE_TERMS, NAME_LENGTH_MAX, UNIT_PRICE_DECIMALS_MAX, UNIT_PRICE_DIGITS_MAX
from dashboard.price_fields import applies_to, typed


class NewFeePrice(Amounts):
    """A fee of a plan: an amount that does not depend on use."""

    amount_name = "unit_price"

    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX, help_text="Such as “Platform fee”.")
    unit_price = forms.DecimalField(
        label="Amount",
        max_digits=UNIT_PRICE_DIGITS_MAX,
        decimal_places=UNIT_PRICE_DECIMALS_MAX,
        help_text="Charged once each time. Below zero it is a rebate, on the invoice.",
        # Not a keypad for decimals: on some phones it has no minus sign.
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    how_often = forms.ChoiceField(
        label="Charged",
        choices=[("period", "Every billing period"), ("once", "Once")],
        widget=forms.RadioSelect,
        initial="period",
    )
    payment_term = forms.ChoiceField(
        label="Paid", choices=FEE_TERMS, widget=forms.RadioSelect, initial=PaymentTerm.IN_ADVANCE.value
    )


class NewCommitment(Amounts):
    """What all use of a plan comes to at least in each of its periods."""

    amount_name = "minimum_spend"

    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX, initial="Minimum spend")
    minimum_spend = typed(
        "At least",
        "Before tax, each period. What use falls short of it is charged when the period's invoice closes.",
        required=True,
    )


class FeePrice(Amounts):
    """The price of a fee, or of a commitment, that there is."""

    amount_name = "amount"

    amount = typed("Amount", required=True, keypad="")
    payment_term = forms.ChoiceField(label="Paid", choices=FEE_TERMS, widget=forms.RadioSelect)
    applies_to = applies_to()

    def __init__(self, data: Any = None, *, version: PriceVersion, options: Mapping[str, Any], own: str) -> None:
        """Show what the price says now; ``options`` are its properties in other currencies."""
        self.member = "minimumSpend" if version.model == "commitment" else "unitPrice"
        initial = {name_in(each, "amount"): properties[self.member] for each, properties in options.items()}
        initial |= {"amount": version.properties[self.member], "payment_term": version.payment_term}
        super().__init__(data, own=own, known=sorted(options), initial=initial)
        if self.member == "minimumSpend":  # a commitment is made up to as the invoice closes
            del self.fields["payment_term"]
