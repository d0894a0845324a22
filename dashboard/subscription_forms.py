"""The forms of subscriptions: another plan, and a fee beside it."""

from decimal import Decimal
from typing import Any, Final

from django import forms

from billing.models import Plan, Price
from dashboard.forms import MerchantChoice

WHEN: Final = [
    ("now", "At once: fees are shared out by time"),
    ("period_end", "At the end of the period: nothing to share out, and you can call it off until then"),
]


class ChangePlan(forms.Form):
    """To which plan, and when."""

    plan = MerchantChoice(queryset=Plan.objects.none(), label="Plan", empty_label="Choose a plan")
    effective = forms.ChoiceField(label="When", choices=WHEN, widget=forms.RadioSelect, initial="now")

    def __init__(self, data: Any = None, *, plans: Any) -> None:
        super().__init__(data)
        self.fields["plan"].queryset = plans  # type: ignore[attr-defined]


class FeeChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice among the prices of fees; anything else in the request is no choice at all."""

    def label_from_instance(self, obj: Any) -> str:
        newest = max(obj.versions.all(), key=lambda version: version.number)
        often = {"P0D": "once", "P1M": "every month", "P3M": "every quarter", "P1Y": "every year"}
        cadence = often.get(newest.billing_cadence, "every billing period")
        return f"{newest.display_name}: {newest.properties['unitPrice']} {cadence}"


class AddFee(forms.Form):
    """A fee beside those of the plan, and how many of it."""

    price = FeeChoice(queryset=Price.objects.none(), label="Fee", empty_label="Choose a fee")
    quantity = forms.DecimalField(
        label="How many", initial=1, min_value=Decimal("0.000000001"), max_digits=23, decimal_places=9
    )

    def __init__(self, data: Any = None, *, prices: Any) -> None:
        super().__init__(data)
        self.fields["price"].queryset = prices  # type: ignore[attr-defined]
