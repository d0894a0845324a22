"""The forms of the portal."""

from django import forms


class TopUp(forms.Form):
    """Test money that a customer of a merchant in test mode adds to the own balance."""

    amount = forms.DecimalField(
        label="Amount",
        min_value=0,
        max_digits=12,
        decimal_places=3,
        widget=forms.NumberInput(attrs={"placeholder": "25.00", "inputmode": "decimal", "step": "any"}),
    )
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)  # a form sent twice adds once


def _amount(label: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        min_value=0,
        max_digits=21,
        decimal_places=9,
        widget=forms.NumberInput(attrs={"placeholder": "25.00", "inputmode": "decimal", "step": "any"}),
    )


class NewLimit(forms.Form):
    """A limit that a customer sets for themselves."""

    amount = _amount("Spend at most")
    window = forms.ChoiceField(
        label="In",
        choices=[("hour", "An hour"), ("day", "A day"), ("month", "A month"), ("total", "All time")],
        initial="month",
    )
    scope = forms.ChoiceField(
        label="For",
        choices=[
            ("customer", "Everything"),
            ("user", "Each user"),
            ("agent", "Each agent"),
            ("session", "Each session"),
        ],
    )


class ChangedLimit(forms.Form):
    """Another amount for a limit."""

    amount = _amount("Limit")
