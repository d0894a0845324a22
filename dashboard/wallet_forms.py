"""The forms of wallets."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.validators import validate_email

from billing.alerts import RECIPIENTS_MAX
from dashboard.forms import NAME_LENGTH_MAX

FIRST, LAST = 10, 90  # the orders that the form offers; the API takes any


class NewCredit(forms.Form):
    """Credit to give away."""

    amount = forms.DecimalField(label="Amount", min_value=0, max_digits=21, decimal_places=9)
    name = forms.CharField(
        label="Name", required=False, max_length=NAME_LENGTH_MAX, help_text="What the customer reads, like Welcome."
    )
    last_day = forms.DateField(
        label="Last day",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="What is not used by its end is gone. Left empty: it does not expire.",
    )
    order = forms.TypedChoiceField(
        label="Used",
        coerce=int,
        choices=[(FIRST, "Before money that was paid in"), (LAST, "After money that was paid in")],
        widget=forms.RadioSelect,
        initial=FIRST,
    )
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)  # a form sent twice gives once

    def __init__(self, data: Any = None, *, currency: str, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["amount"].label = f"Amount in {currency}"

    def expires_at(self, zone: ZoneInfo) -> datetime | None:
        """Return the end of the last day in a zone."""
        day = self.cleaned_data["last_day"]
        return datetime.combine(day + timedelta(days=1), time(), tzinfo=zone) if day else None


class NewAlert(forms.Form):
    """Below what to tell, and whom."""

    threshold = forms.DecimalField(label="When less than", min_value=0, max_digits=21, decimal_places=9)
    recipients = forms.CharField(
        label="Tell",
        required=False,
        help_text="E-mail addresses, separated by commas. The customer is always told.",
    )

    def __init__(self, data: Any = None, *, currency: str, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["threshold"].label = f"When less than ({currency})"

    def clean_recipients(self) -> tuple[str, ...]:
        """Read the addresses."""
        named = [each.strip() for each in self.cleaned_data["recipients"].split(",") if each.strip()]
        if len(named) > RECIPIENTS_MAX:
            raise forms.ValidationError(f"At most {RECIPIENTS_MAX} addresses.")
        for each in named:
            validate_email(each)
        return tuple(dict.fromkeys(named))


class NewPayout(forms.Form):
    """How much of which balance to pay out."""

    currency = forms.ChoiceField(label="Balance", widget=forms.RadioSelect)
    amount = forms.DecimalField(
        label="Amount",
        required=False,
        min_value=0,
        max_digits=21,
        decimal_places=3,
        help_text="Left empty: all there is.",
    )
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)  # a form sent twice pays once

    def __init__(self, data: Any = None, *, currencies: list[tuple[str, str]], **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["currency"].choices = currencies  # type: ignore[attr-defined]
        if currencies:
            self.fields["currency"].initial = currencies[0][0]


class EndPayout(forms.Form):
    """How a payout ended."""

    outcome = forms.ChoiceField(
        label="It was", choices=[("paid", "Paid"), ("failed", "Not paid")], widget=forms.RadioSelect, initial="paid"
    )
    text = forms.CharField(
        label="Reference or reason", required=False, max_length=255, help_text="Of the transfer, or why it failed."
    )


class Schedule(forms.Form):
    """When a balance is paid out by itself."""

    interval = forms.ChoiceField(
        label="Paid out",
        required=False,
        choices=[("", "When I ask for it"), ("day", "Every day"), ("week", "Every week"), ("month", "Every month")],
        widget=forms.RadioSelect,
    )
    minimum = forms.DecimalField(label="From", required=False, min_value=0, max_digits=18, decimal_places=3)

    def __init__(self, data: Any = None, *, currency: str, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["minimum"].label = f"From this much on ({currency})"
        self.fields["minimum"].help_text = "With less, it waits for the next time. Left empty: any amount."


class MoveWithdrawal(forms.Form):
    """What becomes of a withdrawal."""

    outcome = forms.ChoiceField(label="Decision", widget=forms.RadioSelect)
    text = forms.CharField(label="Reason", required=False, max_length=255)

    def __init__(self, data: Any = None, *, state: str, **options: Any) -> None:
        super().__init__(data, **options)
        if state == "requested":
            choices = [
                ("approved", "Approve: it goes back to the cards that paid, and I pay the rest"),
                ("rejected", "Reject: it goes back to the balance"),
            ]
            self.fields["text"].help_text = "Why it is rejected; the customer reads it."
        else:
            choices = [("paid", "I have paid it"), ("failed", "It could not be paid: it goes back to the balance")]
            self.fields["text"].label = "Reference or reason"
        self.fields["outcome"].choices = choices  # type: ignore[attr-defined]
        self.fields["outcome"].initial = choices[0][0]
