"""The forms of subscriptions: how they are charged, another plan, and a fee beside it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from django import forms

from billing import money
from billing.models import Plan, Subscription
from dashboard.forms import MerchantChoice, offer

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


class Settings(forms.Form):
    """How a subscription is charged and reminded of."""

    auto_charge = forms.BooleanField(
        label="Charge the saved card automatically",
        required=False,
        help_text="When an invoice is issued, and to keep the balance at its minimum at each renewal.",
    )
    tax_exempt = forms.BooleanField(
        label="Exempt from tax", required=False, help_text="For what is first charged in the next billing period."
    )
    minimum_balance = forms.DecimalField(
        label="Minimum balance",
        required=False,
        min_value=0,
        max_digits=13,
        decimal_places=9,
        help_text="What the balance is brought to at each renewal. Empty: none.",
    )
    reminder = forms.ChoiceField(
        label="Remind before it renews",
        choices=[("plan", "As the plan says"), ("yes", "Yes"), ("no", "No")],
        widget=forms.RadioSelect,
    )
    reminder_days = forms.IntegerField(
        label="Days before", required=False, min_value=1, max_value=30, help_text="Empty: as the plan says."
    )

    def __init__(self, data: Any = None, *, subscription: Subscription) -> None:
        wanted = {None: "plan", True: "yes", False: "no"}
        initial = {
            "auto_charge": subscription.auto_charge,
            "tax_exempt": subscription.tax_exempt,
            "minimum_balance": money.from_nanos(subscription.minimum_balance) if subscription.minimum_balance else None,
            "reminder": wanted[subscription.renewal_reminder_enabled],
            "reminder_days": subscription.renewal_reminder_days,
        }
        super().__init__(data, initial=initial)
        self.fields["minimum_balance"].label = f"Minimum balance in {subscription.currency}"

    def changes(self) -> dict[str, Any]:
        """Return what was typed, by the names that the activity uses."""
        said = self.cleaned_data
        return {
            "auto_charge": said["auto_charge"],
            "tax_exempt": said["tax_exempt"],
            "minimum_balance": money.to_nanos(said["minimum_balance"] or Decimal(0)),
            "renewal_reminder_enabled": {"plan": None, "yes": True, "no": False}[said["reminder"]],
            "renewal_reminder_days": said["reminder_days"],
        }


class AddFee(forms.Form):
    """A fee beside those of the plan, and how many of it."""

    price = forms.TypedChoiceField(label="Fee")
    quantity = forms.DecimalField(
        label="How many", initial=1, min_value=Decimal("0.000000001"), max_digits=23, decimal_places=9
    )

    def __init__(self, data: Any = None, *, prices: Sequence[Any]) -> None:
        super().__init__(data)
        offer(self.fields["price"], prices, "Choose a fee")
