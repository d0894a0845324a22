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
